import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from .common import SHA_A

_numbers = count(1)


class Issuer:
    """A token issuer of our own: keys behind a discovery document on this machine, as GitHub has them."""

    def __init__(self):
        self.keys, self.asked, self.down = {}, [], False
        self.rotate("key-1")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer._answer(self)

            def log_message(self, *_args):
                """Keep the tests' log clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def rotate(self, kid):
        """Make a key of this id the one that signs."""
        self.kid = kid
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def _answer(self, request):
        self.asked.append(request.path)
        pages = {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"},
            "/jwks": {"keys": [self._jwk(kid) for kid in self.keys]},
        }
        body = json.dumps(pages.get(request.path)).encode()
        request.send_response(503 if self.down else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _jwk(self, kid):
        jwk = json.loads(RSAAlgorithm.to_jwk(self.keys[kid].public_key()))
        return {**jwk, "kid": kid, "use": "sig", "alg": "RS256"}

    def claims(self, **changes):
        """Return the claims of a job as GitHub writes them; None takes one away."""
        now, number = int(time.time()), next(_numbers)
        claims = {
            "iss": self.url,
            "jti": f"6f4762ed-0758-4ccb-808d-{number:012}",
            "sub": "repo:acme/demo:environment:staging",
            "iat": now,
            "nbf": now - 300,
            "exp": now + 300,
            "repository": "acme/demo",
            "repository_id": "4711",
            "repository_owner": "acme",
            "repository_owner_id": "11",
            "ref": "refs/heads/main",
            "ref_type": "branch",
            "sha": SHA_A,
            "environment": "staging",
            "event_name": "push",
            "workflow_ref": "acme/demo/.github/workflows/deploy-staging.yml@refs/heads/main",
            "run_id": "21",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, audience, kid=None, key=None, **changes):
        """Return a token as GitHub signs it."""
        claims = self.claims(**{"aud": audience, **changes})
        return jwt.encode(claims, key or self.keys[self.kid], algorithm="RS256", headers={"kid": kid or self.kid})

    def token_without_signature(self, audience):
        """Return a token that says it needs no signature."""
        return jwt.encode(self.claims(aud=audience), None, algorithm="none", headers={"kid": self.kid})

    def token_signed_with_the_public_key(self, audience):
        """Return an HS256 token whose secret is the public key, which everybody has."""
        public = self.keys[self.kid].public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        # By hand: PyJWT itself refuses to make such a token.
        header = {"alg": "HS256", "typ": "JWT", "kid": self.kid}
        parts = [
            base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=")
            for one in (header, self.claims(aud=audience))
        ]
        digest = hmac.new(pem, b".".join(parts), hashlib.sha256).digest()
        return b".".join([*parts, base64.urlsafe_b64encode(digest).rstrip(b"=")]).decode()
