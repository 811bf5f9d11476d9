"""What a caught mail may show: nothing that is fetched from elsewhere.

The browser is told the same by the page's Content-Security-Policy; this is what makes a mail look whole all the
same: pictures that came with it are put in, those that did not are said to be missing.
"""

import base64
import re

from lxml import etree, html

# Formats that a browser shows as a picture and never runs; SVG is not among them.
_PICTURES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
_MAX_PICTURE_BYTES = 2 * 1024 * 1024
_FETCHING = ("srcset", "background", "poster", "data", "action", "formaction", "ping", "lowsrc", "dynsrc", "longdesc")
_URL = re.compile(r"url\s*\(|image-set|@import|expression\s*\(|\\", re.IGNORECASE)
_LINK = re.compile(r"(?:https?|mailto|tel):", re.IGNORECASE)
_GONE = ("script", "style", "link", "meta", "base", "iframe", "frame", "object", "embed", "form", "input", "button",
         "select", "textarea", "svg", "math", "video", "audio", "source", "track", "template", "noscript")  # fmt: skip


def local(text, parts, missing="[picture not shown]"):
    """Return sanitised HTML ``text`` with the mail's own pictures put in and everything remote taken out.

    :param parts: the mail's :class:`caught_mail.Part`
    :param missing: what stands where a remote picture was
    """
    # As bytes: a text with an XML declaration would be refused.
    parser = html.HTMLParser(encoding="utf-8")
    try:
        tree = html.document_fromstring(text.encode(), parser=parser, ensure_head_body=True).body
    except etree.ParserError:
        return ""
    tree.tag = "div"
    pictures = {part.content_id: part for part in parts if part.content_id and _is_picture(part)}
    for element in list(tree.iter()):
        if not isinstance(element.tag, str) or element.tag in _GONE:
            element.drop_tree()
        else:
            _keep_at_home(element, pictures, missing)
    return html.tostring(tree, encoding="unicode")


def _is_picture(part):
    return part.mimetype in _PICTURES and len(part.content) <= _MAX_PICTURE_BYTES


def _keep_at_home(element, pictures, missing):
    for name in list(element.attrib):
        if name.lower() in _FETCHING or name.lower().startswith("on") or ":" in name:
            del element.attrib[name]
    if _URL.search(element.get("style", "")):
        del element.attrib["style"]
    if not _LINK.match(element.get("href", "").strip()):
        element.attrib.pop("href", None)
    if element.tag == "a":
        element.set("target", "_blank")
        element.set("rel", "noopener noreferrer")
    source = element.attrib.pop("src", None)
    if element.tag == "img":
        _put_picture(element, (source or "").strip(), pictures, missing)


def _put_picture(element, source, pictures, missing):
    part = pictures.get(source[4:].strip("<>")) if source.lower().startswith("cid:") else None
    if part:
        element.set("src", f"data:{part.mimetype};base64,{base64.b64encode(part.content).decode()}")
        return
    element.tag, element.text = "span", f"[{element.get('alt')}]" if element.get("alt") else missing
    for name in list(element.attrib):
        del element.attrib[name]


def plain(text):
    """Return plain ``text`` as HTML, line by line as it was written."""
    element = html.Element("pre", style="white-space: pre-wrap; font-family: inherit")
    element.text = text
    return html.tostring(element, encoding="unicode")
