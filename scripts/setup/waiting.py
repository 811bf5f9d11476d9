"""Ask the parts that were started whether they serve what others need."""

import html
import re
import time

import psycopg2
import requests

from .errors import SetupError

START_WAIT_SECONDS = 600
POSTGRES_WAIT_SECONDS = 60
_ASSET = re.compile(r'(?:src|href)="(/web/assets/[^"]+\.(?:js|css))"')


def for_console(url, failure):
    """Wait until the login page answers.

    :param failure: called now and then; a sentence it returns says that waiting is in vain
    """
    deadline = time.monotonic() + START_WAIT_SECONDS
    while True:
        page = _get(f"{url}/web/login")
        if page is not None and page.status_code == 200:
            return page
        why = failure()
        if why or time.monotonic() > deadline:
            raise SetupError(why or f"The console does not answer at {url} after {START_WAIT_SECONDS} s.")
        time.sleep(0.5)


def for_postgres(dsn):
    """Wait until PostgreSQL lets a role in.

    :param dsn: as a URL, with the role's password
    """
    deadline = time.monotonic() + POSTGRES_WAIT_SECONDS
    while True:
        try:
            return psycopg2.connect(dsn, connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline:
                why = f"The customers' PostgreSQL does not answer after {POSTGRES_WAIT_SECONDS} s: {error}"
                raise SetupError(why) from error
            time.sleep(0.3)


def check_assets(url, page):
    """Load the scripts and styles that the login page names; return how many there are."""
    names = {html.unescape(name) for name in _ASSET.findall(page.text)}
    for name in sorted(names):
        answer = _get(url + name)
        if answer is None or answer.status_code != 200 or not answer.content:
            raise SetupError(f"The console's login page needs {name}, which answers {answer and answer.status_code}.")
    if not names:
        raise SetupError("The console's login page names no scripts or styles.")
    return len(names)


def _get(url):
    try:
        with requests.Session() as session:
            # The machine's proxy settings are for the world outside.
            session.trust_env = False
            return session.get(url, timeout=30)
    except requests.RequestException:
        return None
