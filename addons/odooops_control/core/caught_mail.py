"""Read what an environment tried to send: any bytes give a mail that can be shown, however broken they are.

The parser is the standard library's older policy: it keeps what it does not understand, where the newer one
raises on some headers. What fails nevertheless is read by its header lines alone.
"""

import email.policy
import re
from dataclasses import dataclass
from datetime import UTC
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser, BytesParser
from email.utils import parsedate_to_datetime

MAX_PARTS = 200
MAX_HEADER = 2000
MAX_TEXT = 200_000
# C0 without tab and line ends, DEL, C1, and what turns text around: a subject must not rewrite the line it stands in.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_UNSAFE_NAME = re.compile(r'[\\/:*?"<>|\s]+')
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,100}")


@dataclass(frozen=True)
class Part:
    """A part that is no body: its place, what it is called and what it holds."""

    index: int
    name: str
    mimetype: str
    content_id: str
    content: bytes


@dataclass(frozen=True)
class Mail:
    """A mail as people read it. ``sent_at`` is naive UTC, None where the header says nothing usable."""

    sender: str
    recipients: str
    subject: str
    sent_at: object
    text: str
    html: str
    parts: tuple


def read(raw):
    """Return the :class:`Mail` that ``raw`` bytes are; never raises for their sake."""
    try:
        message = BytesParser(policy=email.policy.compat32).parsebytes(raw)
        text, html, parts = _content(message)
    except Exception:  # noqa: BLE001  what breaks the parser is shown as its source
        message = BytesHeaderParser(policy=email.policy.compat32).parsebytes(raw[:65536])
        text, html, parts = _decoded(raw, "utf-8"), "", ()
    return Mail(
        sender=_header(message, "From"),
        recipients=", ".join(filter(None, (_header(message, name) for name in ("To", "Cc", "Bcc")))),
        subject=_header(message, "Subject"),
        sent_at=_sent_at(message),
        text=text[:MAX_TEXT],
        html=html,
        parts=tuple(parts),
    )


def clean(text, limit=MAX_HEADER):
    """Return ``text`` without control characters, halves of characters and what is beyond ``limit``."""
    whole = text.encode("utf-8", "replace").decode()
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", whole)[:limit]


def _content(message):
    text, html, parts = "", "", []
    for index, part in enumerate(_leaves(message)):
        if index >= MAX_PARTS:
            break
        kind = part.get_content_type()
        shown = kind in ("text/plain", "text/html") and part.get_content_disposition() != "attachment"
        if shown and not (html if kind == "text/html" else text):
            body = _decoded(_payload(part), _charset(part))
            text, html = (text, body) if kind == "text/html" else (body, html)
        else:
            parts.append(_part(index, part))
    return text, html, parts


def _leaves(message):
    """Return what is inside, in order; a forwarded mail is one part, not its parts."""
    waiting, found = [message], []
    while waiting:
        part = waiting.pop()
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting.extend(reversed(part.get_payload()))
        else:
            found.append(part)
    return found


def _part(index, part):
    content = _payload(part)
    kind = part.get_content_type().lower()
    mimetype = kind if _TYPE.fullmatch(kind) else "application/octet-stream"
    name = _UNSAFE_NAME.sub("_", clean(_file_name(part), 150)).strip("._")
    extension = {"text/html": ".html", "text/plain": ".txt", "message/rfc822": ".eml"}.get(kind, "")
    content_id = clean(str(part.get("Content-ID") or ""), 200).strip().strip("<>")
    return Part(index, name or f"part-{index}{extension}", mimetype, content_id, content)


def _file_name(part):
    try:
        return _readable(part.get_filename() or "")
    except Exception:  # noqa: BLE001  RFC 2231 with a charset that nobody knows, and worse
        return ""


def _payload(part):
    """Return the decoded bytes of a part; what can't be decoded stays as it came."""
    if part.is_multipart():
        inner = part.get_payload()
        return inner[0].as_bytes() if inner else b""
    try:
        return part.get_payload(decode=True) or b""
    except Exception:  # noqa: BLE001  a transfer encoding that is none
        return str(part.get_payload()).encode("utf-8", "surrogateescape")


def _charset(part):
    try:
        return part.get_content_charset() or "utf-8"
    except Exception:  # noqa: BLE001
        return "utf-8"


def _decoded(content, charset):
    for name in (charset, "utf-8"):
        try:
            return clean(content.decode(name), None)
        except (LookupError, ValueError):
            continue
    return clean(content.decode("latin-1"), None)


def _header(message, name):
    # As they came: the parser's own reading gives up on raw bytes.
    found = (_readable(value) for key, value in message.raw_items() if key.lower() == name.lower())
    return " ".join(clean(", ".join(found)).split())


def _readable(value):
    """Return a header as text: encoded words decoded, raw bytes as UTF-8."""
    value = str(value)
    if value.isascii():
        try:
            return str(make_header(decode_header(value)))
        except Exception:  # noqa: BLE001  an unknown charset, broken base64
            return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _sent_at(message):
    try:
        at = parsedate_to_datetime(str(message.get("Date")))
        return (at.astimezone(UTC) if at.tzinfo else at).replace(tzinfo=None, microsecond=0)
    except Exception:  # noqa: BLE001  no date, or year 0
        return None
