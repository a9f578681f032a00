"""The command line: a thin layer over the same functions, for clusters and scripts.

edviz info FILE                          what is in a trajectory file
edviz convert IN... OUT                  files of any code into one trajectory file, or a series of another format
edviz train DATA OUT [--config ...]      train, with a progress bar; Ctrl-C leaves a run that resumes
edviz train JOB.json                     the same, everything in one file; for clusters
edviz runs list | show | resume | stop   what became of runs
edviz rollout EMULATOR CONTEXT OUT       generate a trajectory
edviz evaluate GENERATED REFERENCE       the scorecard, as a table, JSON or an HTML page
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edviz.errors import ArgumentError, EdvizError

if TYPE_CHECKING:
    from edviz.emulator import DensityEmulator
    from edviz.training import TrainingRun
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
    """A file, or a bundled trajectory written sample:NAME[:valence|total][:train|validation|test]."""
    import edviz

    if not name.startswith("sample:"):
        return edviz.open(name)
    sample, density, part = _bundled(name.removeprefix("sample:"))
    trajectory = edviz.load_sample(sample, density=density)
    return trajectory.split(part[0]) if part else trajectory


def _emulator(name: str) -> DensityEmulator:
    """A saved emulator's folder, or a bundled one written NAME[:valence|total]."""
    import edviz

    if Path(name).exists():
        return edviz.load_emulator(name)
    sample, density, rest = _bundled(name)
    return edviz.load_emulator(":".join([sample, *rest]), density=density)


def _bundled(name: str) -> tuple[str, str, list[str]]:
    """NAME[:valence|total][:more] -> name, density, more."""
    sample, *rest = name.split(":")
    density = rest.pop(0) if rest and rest[0] in ("valence", "total") else "valence"
    return sample, density, rest


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


_IN_A_JOB = ("config", "preset", "device", "devices", "density")
"""Options of ``edviz train`` that a job file holds instead."""


@app.command()
def train(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="training data: a file, or sample:lithium-800K; or a job file")],
    out: Annotated[Optional[Path], typer.Argument(help="a new folder for the run")] = None,  # noqa: UP045
    config: Annotated[Optional[Path], typer.Option(help="a JSON file of TrainingConfig fields")] = None,  # noqa: UP045
    preset: Annotated[str, typer.Option(help="tiny, small or paper; used where no config is given")] = "small",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    devices: Annotated[int, typer.Option(help="devices that share each batch; on the CPU: processes")] = 1,
    start_from: Annotated[Optional[str], typer.Option(help="an emulator or a run whose weights to start from")] = None,  # noqa: UP045
    density: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="total: valence data with the frozen core of each atom added; valence: make sure of it"),
    ] = None,
    prepare: Annotated[bool, typer.Option("--prepare", help="write the run's folder and start nothing")] = False,
) -> None:
    """Train an emulator; goes on with the run in OUT where there is one.

    JOB.json holds "data", "out" and, where wanted, "preset", "device", "devices", "density" and any field of
    TrainingConfig.

    Example: edviz train sample:lithium-800K runs/li --preset tiny
    """
    from edviz.training import TrainingConfig, TrainingRun
    from edviz.training import train as start
    from edviz.training.job import read_job

    with _plain_errors():
        device_given = out is None or _was_typed(context, "device")
        if out is None:
            job = read_job(data)
            for name in _IN_A_JOB:
                if _was_typed(context, name):
                    where = "as fields of TrainingConfig" if name == "config" else f'as "{name}"'
                    raise ArgumentError(f"--{name} has no effect beside a job file: write it into {data}, {where}")
            data, out, settings = job.data, job.out, job.config
            device, devices, density = job.device, job.devices, job.density
        else:
            settings = TrainingConfig.read(config) if config else TrainingConfig.preset(preset)
        if (out / "config.json").exists():
            run = TrainingRun(out)
            typer.echo(f"{out} holds a run: going on with it, with the choices that it was started with")
            if not prepare:
                run.resume(device if device_given else None)
        else:
            source = _trajectory(data) if data.startswith("sample:") else data
            run = start(
                source, settings, out=out, device=device, devices=devices, start_from=start_from, launch=not prepare,
                density=density,
            )  # fmt: skip
        if prepare:
            typer.echo(f"prepared: {out}")
            return
        _watch(run)


def _was_typed(context: typer.Context, name: str) -> bool:
    """Whether an option was given rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@contextmanager
def _stoppable() -> Iterator[None]:
    """The SIGTERM of a batch system arrives as Ctrl-C does."""
    import signal

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _watch(run: TrainingRun) -> None:
    """Wait with a bar; Ctrl-C, or the SIGTERM of a batch system, stops the run so that it can be resumed."""
    with _stoppable():
        try:
            run.wait()
        except KeyboardInterrupt:
            run.stop()
            typer.echo(f"stopped; the same command, or edviz runs resume {run.directory.path}, goes on")
            raise typer.Exit(130) from None
    if run.status["state"] == "finished":
        typer.echo(f"emulator: {run.directory['emulator']}")
    else:
        typer.echo(f"{run.status['state']}: edviz runs resume {run.directory.path} goes on")


runs = typer.Typer(help="List, show, resume and stop training runs.", no_args_is_help=True)
app.add_typer(runs, name="runs")

Folder = Annotated[Path, typer.Argument(help="the run's folder")]


@runs.command("list")
def list_runs(folder: Annotated[Path, typer.Argument(help="a folder of runs")] = Path("runs")) -> None:
    """List the runs in a folder and below it: state, stage, progress, last validation."""
    from edviz.training.overview import find_runs, table

    with _plain_errors():
        found = find_runs(folder)
        typer.echo(table(found) if found else f"no runs in {folder}")


@runs.command("show")
def show_run(path: Folder) -> None:
    """Say all about a run: state, figures, what it did on its own account, where its files are."""
    from edviz.training import TrainingRun
    from edviz.training.overview import summary

    with _plain_errors():
        typer.echo(summary(TrainingRun(path)))


@runs.command("resume")
def resume_run(
    path: Folder,
    device: Annotated[Optional[str], typer.Option(help="auto, cpu or cuda; by default as it was started")] = None,  # noqa: UP045
    watch: Annotated[bool, typer.Option("--watch", help="stay, with a progress bar")] = False,
) -> None:
    """Go on from the last checkpoint."""
    from edviz.training import TrainingRun

    with _plain_errors():
        run = TrainingRun(path)
        if run.status["state"] == "finished":
            typer.echo(f"{path}: finished; emulator: {run.directory['emulator']}")
            return
        run.resume(device)
        typer.echo(f"{path}: works on, process {run.pid}")
        if watch:
            _watch(run)


@runs.command("stop")
def stop_run(path: Folder) -> None:
    """Write a checkpoint and end."""
    from edviz.training import TrainingRun

    with _plain_errors():
        run = TrainingRun(path).stop()
        typer.echo(f"{path}: {run.status['state']}")


@app.command()
def rollout(
    emulator: Annotated[str, typer.Argument(help="lithium-800K[:valence|total], or a saved emulator's folder")],
    context: Annotated[str, typer.Argument(help="a trajectory whose last frames start the rollout, or: nothing")],
    out: Annotated[Path, typer.Argument(help="the file to write")],
    frames: Annotated[int, typer.Option(help="frames to generate")] = 1000,
    samples: Annotated[int, typer.Option(help="independent trajectories")] = 1,
    seed: Annotated[int, typer.Option(help="random seed")] = 0,
    save_every: Annotated[int, typer.Option(help="keep one frame in so many; the others are not even decoded")] = 1,
    stat_every: Annotated[int, typer.Option(help="look at one frame in so many for the statistics")] = 10,
    overwrite: Annotated[bool, typer.Option(help="start anew instead of going on")] = False,
) -> None:
    """Generate a trajectory, streamed to a file; the same command goes on where a stopped one ended.

    With more --frames it continues a finished file.

    Example: edviz rollout lithium-800K sample:lithium-800K:test long.h5 --frames 100000 --save-every 100
    Example: edviz rollout lithium-800K:total sample:lithium-800K:total:test long.h5
    """
    with _plain_errors(), _stoppable():
        model = _emulator(emulator)
        start = None if context == "nothing" else _trajectory(context)
        try:
            generated = model.rollout(
                start, frames, samples, seed, out, save_every=save_every, stat_every=stat_every, overwrite=overwrite
            )
        except KeyboardInterrupt:
            typer.echo(f"stopped; the same command goes on with {out}")
            raise typer.Exit(130) from None
        typer.echo(f"{out}: {generated!r}")
        _tell_statistics(generated)


def _tell_statistics(generated: DensityTrajectory) -> None:
    """What a rollout's running statistics say of it."""
    from edviz.errors import MissingDataError

    try:
        found = generated.running_statistics()
    except MissingDataError as reason:
        typer.echo(str(reason))
        return
    smallest, error = float(found["minimum"].min()), float(found["charge_error"].max())
    typer.echo(f"{int(found['frames'].sum())} frames looked at: rho >= {smallest:.3g} e/angstrom^3, N_e to {error:.1g}")
    typer.echo("the last tenth, and where the nine before put it (99 %):")
    table = found[["last", "low", "high", "same", "drift", "steady"]].to_dataframe()
    typer.echo(table.to_string(float_format=lambda x: f"{x:.4g}"))


@app.command()
def evaluate(
    generated: Annotated[str, typer.Argument(help="the generated trajectory")],
    reference: Annotated[str, typer.Argument(help="held-out AIMD, e.g. sample:lithium-800K:test")],
    training: Annotated[Optional[str], typer.Option(help="training data, for the noise floors")] = None,  # noqa: UP045
    emulator: Annotated[Optional[str], typer.Option(help="the emulator, for one-step errors")] = None,  # noqa: UP045
    html: Annotated[Optional[Path], typer.Option(help="write one page with table and curves here")] = None,  # noqa: UP045
    json: Annotated[Optional[Path], typer.Option(help="write table and notes here")] = None,  # noqa: UP045
) -> None:
    """Print the scorecard of a generated trajectory, every number beside its noise floor.

    Trajectories are files, or sample:NAME[:valence|total][:train|validation|test] for a bundled one. A reference that
    carries split times and holds both parts gives the training data too. Files larger than memory are read a little at
    a time, by as many threads as there are processors.

    Example: edviz evaluate rollout.h5 sample:lithium-800K --html card.html --json card.json
    """
    import edviz

    with _plain_errors():
        card = edviz.evaluate(
            _trajectory(generated),
            _trajectory(reference),
            _trajectory(training) if training else None,
            _emulator(emulator) if emulator else None,
        )
        typer.echo(card.to_dataframe().to_string(float_format=lambda x: f"{x:.4g}"))
        for path, write in ((html, card.to_html), (json, card.to_json)):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path)


if __name__ == "__main__":
    app()
