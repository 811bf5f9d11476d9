"""What an environment tried to send, as people read it: no bytes break it, nothing remote is fetched for it."""

from datetime import datetime
from email.message import EmailMessage

import pytest
from core import caught_mail, mail_html

PIXEL = bytes.fromhex("89504e470d0a1a0a")


def newsletter():
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Cc"] = "Zoë <zoe@example.com>", "bob@example.com", "eve@example.com"
    mail["Subject"], mail["Date"] = "Déjà vu ✓", "Mon, 23 Nov 2026 12:00:00 +0200"
    mail.set_content("plain words")
    mail.add_alternative('<p>rich <img src="cid:logo"></p>', subtype="html")
    mail.get_payload()[1].add_related(PIXEL, "image", "png", cid="<logo>")
    mail.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="Invoice ü.pdf")
    return mail


def test_a_mail_is_read():
    found = caught_mail.read(newsletter().as_bytes())
    assert (found.sender, found.subject) == ("Zoë <zoe@example.com>", "Déjà vu ✓")
    assert found.recipients == "bob@example.com, eve@example.com"
    assert found.sent_at == datetime(2026, 11, 23, 10)
    assert found.text.strip() == "plain words"
    assert [(part.name, part.mimetype, part.content_id) for part in found.parts] == [
        ("part-2", "image/png", "logo"),
        ("Invoice_ü.pdf", "application/pdf", ""),
    ]
    assert found.parts[1].content == b"%PDF-1.7"


def test_the_mail_s_own_pictures_are_put_in():
    found = caught_mail.read(newsletter().as_bytes())
    assert "data:image/png;base64,iVBORw0KGgo=" in mail_html.local(found.html, found.parts)


def deep(levels):
    lines = [b"Subject: deep", b"MIME-Version: 1.0"]
    for level in range(levels):
        lines += [b'Content-Type: multipart/mixed; boundary="b%d"' % level, b"", b"--b%d" % level]
    return b"\r\n".join([*lines, b"Content-Type: text/plain", b"", b"core"])


NASTY = {
    "empty": b"",
    "zeros": b"\x00" * 1000,
    "no header": b"\r\n\r\nhello",
    "all bytes": bytes(range(256)) * 20,
    "raw bytes in a header": "Subject: Müller\r\nFrom: \xff\r\n\r\nx".encode("latin-1"),
    "unknown charset": b"Content-Type: text/plain; charset=klingon\r\n\r\nna\xefve",
    "charset that is no text": b"Content-Type: text/plain; charset=base64\r\n\r\nabc",
    "nul charset": b'Content-Type: text/plain; charset="utf\x00-8"\r\n\r\nabc',
    "broken base64": b"Content-Transfer-Encoding: base64\r\nContent-Type: text/html\r\n\r\n!!!",
    "unknown encoding": b"Content-Transfer-Encoding: x-secret\r\n\r\nbody",
    "broken uuencode": b"Content-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\n\xff\xff\r\nend",
    "encoded word of nothing": b"Subject: =?klingon?B?////?=\r\n\r\n",
    "encoded word half": b"Subject: =?utf-8?B?4pyTx\r\n\r\n",
    "a date before time": b"Date: Mon, 00 Foo 0000 99:99:99 +9999\r\n\r\n",
    "a date at the end": b"Date: Fri, 31 Dec 9999 23:59:59 -2359\r\n\r\n",
    "rfc 2231 name": b"Content-Type: application/x; name*=klingon''%ff%fe\r\n\r\nx",
    "name as a path": b'Content-Disposition: attachment; filename="../../etc/passwd"\r\n\r\nx',
    "multipart without boundary": b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nhi",
    "multipart without end": b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\nhi',
    "empty message/rfc822": b"Content-Type: message/rfc822\r\n\r\n",
    "one type in two": b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\nx",
    "ten thousand parts": b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n' + b"--x\r\n\r\nhi\r\n" * 10_000,
    "deep": deep(90),
    "deeper than the parser goes": deep(5000),
    "a header of a megabyte": b"Subject: " + b"a" * 2**20 + b"\r\n\r\n",
    "lone surrogates": "Subject: \ud800\r\n\r\n\ud800".encode("utf-8", "surrogatepass"),
}


@pytest.mark.parametrize("raw", NASTY.values(), ids=NASTY)
def test_no_bytes_break_it(raw):
    found = caught_mail.read(raw)
    shown = [found.sender, found.recipients, found.subject, found.text, found.html, *(one.name for one in found.parts)]
    for text in shown:
        text.encode()
        assert "\x00" not in text
    assert all("/" not in part.name and isinstance(part.content, bytes) for part in found.parts)
    assert len(found.parts) <= caught_mail.MAX_PARTS
    assert len(found.subject) <= caught_mail.MAX_HEADER
    mail_html.local(found.html, found.parts)


def test_what_can_be_read_of_a_broken_mail_is():
    assert caught_mail.read(deep(5000)).subject == "deep"
    assert caught_mail.read(NASTY["raw bytes in a header"]).subject == "M\ufffdller"
    assert "body" in caught_mail.read(NASTY["unknown encoding"]).text
    assert caught_mail.read(NASTY["name as a path"]).parts[0].name == "etc_passwd"


def test_a_forwarded_mail_is_one_attachment():
    outer = EmailMessage()
    outer.set_content("see below")
    outer.add_attachment(newsletter())
    [part] = caught_mail.read(outer.as_bytes()).parts
    assert (part.name, part.mimetype) == ("part-1.eml", "message/rfc822")
    assert b"plain words" in part.content


def test_a_subject_rewrites_no_line():
    assert caught_mail.read(b"Subject: pay \xe2\x80\xaefdp.exe\r\n\r\n").subject == "pay \ufffdfdp.exe"


REMOTE = """<html><head><meta http-equiv="refresh" content="0; url=http://evil.test/r">
<link rel="stylesheet" href="http://evil.test/s"><style>@import url(http://evil.test/i)</style><base href="http://evil.test/">
</head><body background="http://evil.test/b" onload="fetch('http://evil.test/o')">
<!-- http://evil.test/comment --><script src="http://evil.test/j">x()</script><form action="http://evil.test/f"><input></form>
<img src="http://evil.test/p" srcset="http://evil.test/q 2x" alt="offer"><img SRC=//evil.test/2><img src="cid:none">
<div style="background: URL (http://evil.test/u)">a</div><div style="background:\\75rl(http://evil.test/e)">b</div>
<table background="http://evil.test/t"><tr><td style="color: red">kept</td></tr></table>
<a href="javascript:alert(1)" onclick="x()">js</a><a href="https://example.com/reset?t=1" target="_top" ping="http://evil.test/g">go</a>
<svg><image href="http://evil.test/v"/></svg><video poster="http://evil.test/w"></video><iframe srcdoc="x"></iframe>
<object data="http://evil.test/d"></object><math><mtext></mtext></math><p xlink:href="http://evil.test/x">end</p>
</body></html>"""


def test_nothing_remote_stays():
    shown = mail_html.local(REMOTE, ())
    assert "evil.test" not in shown
    for gone in ("<script", "<form", "<input", "<svg", "<iframe", "<style", "javascript:", "onclick", "onload", "_top"):
        assert gone not in shown.lower(), gone
    assert "[offer]" in shown
    assert shown.count("[picture not shown]") == 2
    assert "color: red" in shown
    assert 'href="https://example.com/reset?t=1" target="_blank" rel="noopener noreferrer"' in shown


ODD = ("", " ", "<", "<html>", "<!-- x", "<frameset><frame src=a></frameset>", "&#0;", "\x0b", "<div>" * 3000)


@pytest.mark.parametrize("text", [*ODD, "<?xml version='1.0' encoding='utf-16'?><p>x</p>"])
def test_odd_html_is_shown_somehow(text):
    assert isinstance(mail_html.local(text, ()), str)
