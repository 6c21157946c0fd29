"""Pictures as commands print them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast import InvalidInput
from holdfast.spec.diagram import DiagramFormat, DiagramGraph, draw
from holdfast_server.cli.output import note, print_json, say, stdout
from holdfast_server.cli.target import Target

_FILE_WIDTH = 160

Format = Annotated[DiagramFormat, typer.Option(help="Its form.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there instead of printing it.")
]


def print_diagram(graph: DiagramGraph, format: DiagramFormat, output: Path | None, target: Target) -> None:
    """Print a picture, or write it to a file.

    Raises:
        InvalidInput: The file cannot be written.
    """
    console = stdout()
    # One column stays free: some terminals wrap a line that fills them.
    width = console.width - 1 if console.is_terminal and output is None else _FILE_WIDTH
    text = draw(graph, format, width=width)
    if output is not None:
        try:
            output.write_text(text, "utf-8")
        except OSError as error:
            raise InvalidInput(f"--output {str(output)!r}: {error.strerror}") from error
        note(f"written to {output}", style="dim")
    elif target.json:
        print_json({"title": graph.title, "format": format, "diagram": text})
    elif graph.nodes:
        say(text.rstrip("\n"))
    else:
        note("nothing to draw: no step was called")
