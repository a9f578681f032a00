"""The command line: a thin layer over the same functions, for clusters and scripts.

edviz info FILE                          what is in a trajectory file
edviz convert IN... OUT                  files of any code into one trajectory file, or a series of another format
edviz train DATA OUT [--config ...]      train, with a progress bar; Ctrl-C leaves a run that resumes
edviz rollout EMULATOR CONTEXT OUT       generate a trajectory
edviz evaluate GENERATED REFERENCE       the scorecard
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edviz.errors import ArgumentError, EdvizError

if TYPE_CHECKING:
    from edviz.trajectory import DensityTrajectory

__all__ = ["app"]

app = typer.Typer(
    help="See, measure and learn the motion of electron densities.", no_args_is_help=True, add_completion=False
)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Show what edviz raises on purpose as one line and exit with 1; anything else is a bug and keeps its traceback."""
    try:
        yield
    except (EdvizError, FileNotFoundError) as error:
        typer.echo(f"edviz: {error}", err=True)
        raise typer.Exit(1) from error


def _trajectory(name: str) -> DensityTrajectory:
    """A file, or a bundled trajectory written sample:NAME[:train|validation|test]."""
    import edviz

    if not name.startswith("sample:"):
        return edviz.open(name)
    _, sample, *part = name.split(":")
    trajectory = edviz.load_sample(sample)
    return trajectory.split(part[0]) if part else trajectory


@app.command()
def info(file: Annotated[str, typer.Argument(help="a trajectory file, or sample:lithium-800K")]) -> None:
    """Say what is in a trajectory file."""
    with _plain_errors():
        trajectory = _trajectory(file)
        typer.echo(repr(trajectory))
        typer.echo(str(trajectory.ds))


@app.command()
def convert(
    paths: Annotated[
        list[str], typer.Argument(help="files, patterns or a folder, then the file to write", metavar="IN... OUT")
    ],
    timestep: Annotated[Optional[float], typer.Option(help="fs between frames, for files without times")] = None,  # noqa: UP045
    positions: Annotated[Optional[Path], typer.Option(help="a trajectory that ASE reads, for the atoms")] = None,  # noqa: UP045
    option: Annotated[
        list[str] | None, typer.Option(help="an option of the reader: density_kind=total, orbital=5")
    ] = None,
    workers: Annotated[Optional[int], typer.Option(help="processes; by default one a processor, four at most")] = None,  # noqa: UP045
    overwrite: Annotated[bool, typer.Option(help="start anew instead of going on")] = False,
) -> None:
    """Convert files; the same command goes on where a stopped one ended.

    OUT is run.h5, or a name with a number for a file a frame: CHGCAR_%04d, rho-%d.cube.
    """
    import edviz
    from edviz.io.convert import convert as write
    from edviz.io.convert import left_behind

    with _plain_errors():
        if len(paths) < 2:
            raise ArgumentError("name the files to read and, last, the file to write")
        *sources, out = paths
        options: dict[str, Any] = dict(_reader_option(text) for text in option or ())
        source: Any = sources if len(sources) > 1 else sources[0]
        trajectory = edviz.open(source, timestep=timestep, positions=positions, **options)
        lost = left_behind(trajectory) if out.endswith((".h5", ".hdf5", ".nc", ".nc4")) else []
        if lost:
            typer.echo(f"edviz: left out: {', '.join(lost)} (traj.to_file keeps them)", err=True)
        try:
            n_frames = write(trajectory, out, workers=workers, overwrite=overwrite)
        except KeyboardInterrupt:
            typer.echo(f"stopped; the same command goes on with {out}")
            raise typer.Exit(130) from None
        typer.echo(f"{out}: {n_frames} frames written, {len(trajectory)} in all")


def _reader_option(text: str) -> tuple[str, Any]:
    """``orbital=5`` as a name and a number or text."""
    name, found, value = text.partition("=")
    if not found:
        raise ArgumentError(f"--option takes name=value; got '{text}'")
    return name, int(value) if value.lstrip("-").isdigit() else value


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="training data: a file, or sample:lithium-800K")],
    out: Annotated[Path, typer.Argument(help="a new folder for the run")],
    config: Annotated[Optional[Path], typer.Option(help="a JSON file of TrainingConfig fields")] = None,  # noqa: UP045
    preset: Annotated[str, typer.Option(help="tiny, small or paper; used where no config is given")] = "small",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Train an emulator; goes on with the run in OUT where there is one."""
    from edviz.training import TrainingConfig, TrainingRun
    from edviz.training import train as start

    with _plain_errors():
        if (out / "config.json").exists():
            run = TrainingRun(out).resume(device)
        else:
            settings = TrainingConfig.read(config) if config else TrainingConfig.preset(preset)
            run = start(_trajectory(data), settings, out=out, device=device)
        try:
            run.wait()
        except KeyboardInterrupt:
            run.stop()
            typer.echo(f"stopped; the same command goes on with the run in {out}")
            raise typer.Exit(130) from None
        typer.echo(f"emulator: {run.directory['emulator']}")


@app.command()
def rollout(
    emulator: Annotated[str, typer.Argument(help="lithium-800K, or a saved emulator's folder")],
    context: Annotated[str, typer.Argument(help="a trajectory whose last frames start the rollout")],
    out: Annotated[Path, typer.Argument(help="the file to write")],
    frames: Annotated[int, typer.Option(help="frames to generate")] = 1000,
    samples: Annotated[int, typer.Option(help="independent trajectories")] = 1,
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
) -> None:
    """Generate a trajectory, streamed to a file."""
    import edviz

    with _plain_errors():
        model = edviz.load_emulator(emulator)
        generated = model.rollout(_trajectory(context), n_frames=frames, n_samples=samples, seed=seed, out=out)
        typer.echo(f"{out}: {generated!r}")


@app.command()
def evaluate(
    generated: Annotated[str, typer.Argument(help="the generated trajectory")],
    reference: Annotated[str, typer.Argument(help="held-out AIMD, e.g. sample:lithium-800K:test")],
    training: Annotated[Optional[str], typer.Option(help="training data, for the noise floors")] = None,  # noqa: UP045
    emulator: Annotated[Optional[str], typer.Option(help="the emulator, for one-step errors")] = None,  # noqa: UP045
    json: Annotated[Optional[Path], typer.Option(help="write the scorecard here")] = None,  # noqa: UP045
) -> None:
    """Print the scorecard of a generated trajectory."""
    import edviz

    with _plain_errors():
        card = edviz.evaluate(
            _trajectory(generated),
            _trajectory(reference),
            _trajectory(training) if training else None,
            edviz.load_emulator(emulator) if emulator else None,
        )
        typer.echo(card.to_dataframe().to_string(float_format=lambda x: f"{x:.4g}"))
        if json is not None:
            card.to_json(json)


if __name__ == "__main__":
    app()
