"""Matplotlib's SVG file as an element for within a page."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
#: What letters are shown in: those in which their room was measured, or about as wide ones.
_FONTS = "font-family: 'DejaVu Sans', Verdana, sans-serif"
#: Attributes that are lengths in points of 1/72 inch, of which hundredths are seen by nobody.
_PLACES, _LONG = ("d", "x", "y", "width", "height", "transform"), re.compile(r"\d+\.\d{3,}")
_POINTER = re.compile(r"url\(#([^)]+)\)")


def inline(file: str, title: str, description: str, variables: Mapping[str, str]) -> str:
    """variables: colour as #rrggbb -> name of a variable of the page's style."""
    root = ET.fromstring(file)  # our own drawing, not a stranger's file
    name = "f" + hashlib.sha256("\0".join((file, title, description)).encode()).hexdigest()[:10]
    _leave_out(root, f"{_SVG}metadata", f"{_SVG}style")  # a style would be of all of the page
    pointed = _pointed_at(root)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.text, element.tail = _text(element), None
        if (link := element.attrib.pop(_LINK, None)) is not None:
            element.set("href", f"#{name}-{link[1:]}" if link.startswith("#") else link)
        own = element.attrib.pop("id", None)
        if own in pointed:
            element.set("id", f"{name}-{own}")
        for key, value in element.attrib.items():
            element.set(key, _value(key, value, name, variables))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    names = {"title": title, "desc": description}
    for place, (tag, text) in enumerate(names.items()):
        about = ET.Element(tag, {"id": f"{name}-{tag}"})
        about.text = text
        root.insert(place, about)
    front = {"xmlns": _SVG[1:-1], "role": "img", "width": "100%"}
    labels = {"aria-labelledby": f"{name}-title", "aria-describedby": f"{name}-desc"}
    root.attrib = front | labels | {"stroke-linejoin": "round", "stroke-linecap": "butt"} | root.attrib
    return ET.tostring(root, encoding="unicode")


def _leave_out(root: ET.Element, *tags: str) -> None:
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in tags]:
            parent.remove(child)


def _pointed_at(root: ET.Element) -> set[str]:
    """The ids that something refers to; the others only say what Matplotlib calls its parts."""
    found = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            found.update(_POINTER.findall(value))
            if key == _LINK and value.startswith("#"):
                found.add(value[1:])
    return found


def _text(element: ET.Element) -> str | None:
    """Without the line breaks between elements."""
    return element.text if element.text and element.text.strip() else None


def _value(key: str, value: str, name: str, variables: Mapping[str, str]) -> str:
    value = _POINTER.sub(rf"url(#{name}-\1)", value)
    if key in _PLACES:
        value = _LONG.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
        return " ".join(value.split())
    if key == "style":
        value = re.sub(r"font-family: [^;]*", _FONTS, value)
        value = re.sub(r"(font: [^;']*)'[^;]*", rf"\1{_FONTS.partition(': ')[2]}", value)
        for colour, variable in variables.items():
            value = value.replace(f": {colour}", f": var({variable}, {colour})")
    return value
