"""Read TOML: errors name the file and the line."""

from pathlib import Path

import pytest

from lstm_ae.errors import DataError
from lstm_ae.watch.toml import parse_toml

FILE = Path("c.toml")


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("units = ", ("not TOML",)),
        ("units = 1\nunits = 2", ("overwrite",)),
        ("[config]\nschedule = cosine", ("line 2", "quotation marks")),
        ("[config", ("not TOML",)),
        ("a = " + "[" * 100_000, ("not TOML",)),
        ("[config]\n# a.b\na" + ".b" * 30_000 + " = 1", ("line 3", "ten parts")),
        ('task = """a\n"""\na = {"b"' + ' . "b"' * 10 + " = 1}", ("line 3", "ten parts")),
        ("[config]\nunits = " + "9" * 100_000, ("line 2", "1,000 characters")),
        ("[config]\nunits = 0x" + "f" * 100_000, ("line 2", "1,000 characters")),
    ],
)
def test_invalid_toml_is_refused_with_its_place(text: str, facts: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        parse_toml(text, FILE)
    assert all(fact in str(caught.value) for fact in ("'c.toml'", *facts))
    assert "\n" not in str(caught.value)


def test_long_texts_and_keys_of_ten_parts_are_parsed() -> None:
    text = "a.b.c.d.e.f.g.h.i.j.k" * 100
    key = "z" + text[1:19]
    content = parse_toml(f"a = \"{text}\"  # {text}\nb = '''\n\"{text}'''\n[{key}]\n\"{text}\" = 1", FILE)
    assert (content["a"], content["b"]) == (text, f'"{text}')
