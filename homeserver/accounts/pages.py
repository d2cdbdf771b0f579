"""Pages for people in a browser. Pure."""

from collections.abc import Sequence


def page(title: str, paragraphs: Sequence[str]) -> bytes:
    """A page; the paragraphs are HTML."""
    style = "body{font:1.1em sans-serif;max-width:36em;margin:4em auto;padding:0 1em}"
    head = f"<meta charset=utf-8><title>{title}</title><style>{style}</style>"
    head += '<meta name="viewport" content="width=device-width">'
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>'.encode()
