"""The console's signing key: a file beside the database, so that whoever writes the database can't sign with it.

The file is named by ODOOOPS_SIGNING_KEY_FILE and holds 32 random bytes in base64, readable by Odoo's user only.
"""

import logging
import os
from base64 import b64decode
from pathlib import Path

from nacl.signing import SigningKey

_logger = logging.getLogger(__name__)

VARIABLE = "ODOOOPS_SIGNING_KEY_FILE"


def load():
    """Return the ``SigningKey``, None where there is none that can be used."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    try:
        return SigningKey(b64decode(Path(named).read_text(encoding="ascii").strip(), validate=True))
    except (OSError, ValueError, TypeError) as error:
        # The error's own text may hold a part of the key.
        _logger.error("%s can't be used (%s): it has to hold 32 bytes in base64, readable by Odoo's user.", named,
                      type(error).__name__)  # fmt: skip
        return None
