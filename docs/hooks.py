"""MkDocs hooks: pages made from the command line, the configs, and notebooks, and files outside `docs/pages`.

Links in the pages are relative paths in the repository, so that the pages can be read without building the site. A
link to a file that is also on the site, such as a figure of a trained model, is changed to the copy on the site.
"""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from sizes import sizes_table

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/pages"
# Files of the repository that are pages or figures of the site, by their path on the site.
COPIES = {
    "changelog.md": ROOT / "CHANGELOG.md",
    "results/trained-models.md": ROOT / "saved_models/README.md",
    "reference/errors.md": ROOT / "lstm_ae/errors.md",
    "results/stocks.md": ROOT / "lstm_ae/data/stocks.md",
} | {f"figures/{path.parts[-3]}-{path.name}": path for path in sorted((ROOT / "saved_models").glob("*/figures/*.png"))}
# Notebooks, by the path of their page.
NOTEBOOKS = {f"tutorials/{path.stem}-notebook.md": path for path in sorted((ROOT / "docs").glob("*.ipynb"))}
SOURCES = COPIES | NOTEBOOKS
TARGETS = {path: uri for uri, path in SOURCES.items()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the files outside `docs/pages`."""
    for uri, path in COPIES.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    pages = {
        "reference/configuration.md": configuration_page(),
    }
    for uri, text in {**cli_pages(), **pages}.items():
        files.append(File.generated(config, uri, content=text))
    for uri, path in NOTEBOOKS.items():
        text, figures = notebook_page(path)
        files.append(File.generated(config, uri, content=text))
        for name, content in figures.items():
            files.append(File.generated(config, f"{uri.rpartition('/')[0]}/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Change links to files of the repository into links of the site, and add the sizes of the folders."""
    source = SOURCES.get(page.file.src_uri, PAGES / page.file.src_uri)
    if page.file.src_uri == "explanation/architecture.md":
        markdown += f"\n{sizes_table()}\n"

    def replace(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / match["path"]))
        if target in TARGETS:
            uri = TARGETS[target]
        elif target.is_relative_to(PAGES):
            uri = target.relative_to(PAGES).as_posix()
        else:
            return match[0]
        return f"]({os.path.relpath(uri, Path(page.file.src_uri).parent)}{match['anchor'] or ''})"

    return re.sub(r"\]\((?P<path>(?!https?:|#)[^)#\s]+)(?P<anchor>#[^)\s]*)?\)", replace, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Keep each option in one line; browsers would break `--learning-rate` after any of its hyphens."""

    def mark(match: re.Match[str]) -> str:
        return re.sub(r"(?<![\w-])--?[a-z][\w-]*", r'<span class="option">\g<0></span>', match[0])

    return re.sub(r"(?<!</span>)<code>[^<]*</code>", mark, html)


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook with its outputs as Markdown, and its figures by the names that the text uses."""
    lines, figures = [], {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            lines += [text, ""]
            continue
        shell = text.startswith("%%sh\n")
        lines += ["```sh" if shell else "```python", text.removeprefix("%%sh\n"), "```", ""]
        # What is written to stderr, such as TensorFlow's log lines, depends on the machine.
        printed = "".join("".join(one["text"]) for one in cell["outputs"] if one.get("name") == "stdout")
        results = [one["data"] for one in cell["outputs"] if "data" in one]
        for data in [{"text/plain": printed}, *results] if printed else results:
            if "image/png" in data:
                name = f"{path.stem}-{len(figures)}.png"
                figures[name] = base64.b64decode(data["image/png"])
                lines += [f'<img alt="Figure {len(figures)}" src="{name}">', ""]
            elif "text/html" in data:
                lines += [table_only("".join(data["text/html"])), ""]
            else:
                lines += ["```text", "".join(data["text/plain"]).rstrip(), "```", ""]
    lines += [f"This page is the notebook `{path.relative_to(ROOT)}`."]
    return "\n".join(lines) + "\n", figures


def table_only(html: str) -> str:
    """Return the table of a data frame without pandas' own styles, which do not know the dark scheme."""
    table = re.search(r"<table.*</table>", html, re.S)
    assert table, "an HTML output that is not a data frame"
    return re.sub(r' (border|class|style)="[^"]*"', "", table[0])


def cli_pages() -> dict[str, str]:
    """Return the reference of all commands, made from the Typer app: a page for each group, and one for the others."""
    from lstm_ae_cli.app import command as root_command

    commands = root_command().commands
    single = {name: command for name, command in commands.items() if not hasattr(command, "commands")}
    groups = {name: command for name, command in commands.items() if name not in single}
    lines = [
        "# Command line",
        "",
        "These pages are generated from the help of `lstmae`. `lstmae COMMAND --help-all` prints the same,",
        "`lstmae COMMAND --help` or `-h` leaves out the options that are marked as advanced.",
        "",
        "| | |",
        "|---|---|",
        *(f"| [`lstmae {name}`]({name}.md) | {cell(group.help.splitlines()[0])} |" for name, group in groups.items()),
        *(f"| [`lstmae {name}`](#lstmae-{name}) | {cell(one.help.splitlines()[0])} |" for name, one in single.items()),
    ]
    for name, command in single.items():
        lines += describe_command(f"lstmae {name}", command)
    pages = {"reference/cli/index.md": "\n".join(lines) + "\n"}
    for name, group in groups.items():
        lines = [f"# lstmae {name}", "", *format_help(group.help)]
        for verb, command in group.commands.items():
            lines += describe_command(f"lstmae {name} {verb}", command)
        pages[f"reference/cli/{name}.md"] = "\n".join(lines) + "\n"
    return pages


def describe_command(words: str, command: Any) -> list[str]:
    """Return the lines on a command: its help, and a table for each panel of options."""
    lines = ["", f"## {words}", "", *format_help(command.help)]
    panels: dict[str, list[Any]] = {}
    for parameter in command.params:
        kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
        panels.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(parameter)
    for panel, parameters in panels.items():
        lines += ["", f"**{panel}**", "", "| | default | |", "|---|---|---|"]
        # Sorting is stable: the options that only the full help shows come last.
        lines += map(format_parameter, sorted(parameters, key=lambda each: getattr(each, "hidden", False)))
    return lines


def format_help(text: str) -> list[str]:
    """Return the lines of a help text with its examples as code."""
    return [re.sub(r"^Example: (.*)$", r"Example: `\1`", line) for line in text.splitlines()]


def format_parameter(parameter: Any) -> str:
    """Return the row of an option or argument in a table."""
    name = ", ".join(parameter.opts)
    if parameter.param_type_name == "option" and parameter.metavar:
        name += f" {parameter.metavar}"
    elif parameter.param_type_name == "argument":
        name = (parameter.metavar or name).upper()
    default = parameter.default
    shown = "" if default in (None, False, (), []) else f"`{default}`"
    help = cell(parameter.help or "") + (" (advanced)" if getattr(parameter, "hidden", False) else "")
    return f"| {code(name)} | {'required' if parameter.required else shown} | {help} |"


def configuration_page() -> str:
    """Return the reference of all config fields, made from the config classes."""
    from lstm_ae.config import TASKS
    from lstm_ae.config.options import declared_options, flag_name

    lines = [
        "# Configuration",
        "",
        "This page is generated from the config classes in `lstm_ae.config`. Each field is an option on the command",
        "line (rare ones without a flag: `--set NAME=VALUE`), a key of `config` in a run's `config.json` and in a file",
        "for `--config`, and, if it is tunable, an axis of a search.",
        "`series` is the config of `lstmae series`; the other three belong to the studies.",
    ]
    for task, config in TASKS.items():
        lines += ["", f"## {task}", "", "| field | type | default | allowed | tunable | |", "|---|---|---|---|---|---|"]
        for field in declared_options(config):
            cells = (
                code(flag_name(field.name)),
                field.kind.__name__ + (" or none" if field.optional else ""),
                "" if field.default in (None, ()) else code(str(field.default)),
                cell(field.option.rule(field.kind)),
                "yes" if field.option.tunable else "",
                cell(f"{field.option.help} {field.option.details}"),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def code(text: str) -> str:
    """Return a text as code in a cell of a table."""
    return f"`{' '.join(text.split())}`"


def cell(text: str) -> str:
    """Return a help text for a cell of a table; Rich's escapes are removed, and those of Markdown added."""
    escapes = {"<": "&lt;", "|": "&#124;", "*": "\\*"}
    return re.sub(r"[<|*]", lambda mark: escapes[mark[0]], " ".join(text.replace("\\[", "[").split()))
