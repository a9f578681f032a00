"""Start, watch, stop, resume: `train` and the `TrainingRun` it returns.

The training is a process of its own (worker.py) with its own session: a kernel restart, a closed tab or a lost
connection do not touch it. `TrainingRun(path)` attaches to any run directory.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from edviz.errors import MissingDataError, TrainingError, WriteError
from edviz.training.config import TrainingConfig
from edviz.training.directory import RunDirectory
from edviz.training.processes import require_devices

if TYPE_CHECKING:
    import pandas as pd

    from edviz.emulator import DensityEmulator
    from edviz.trajectory import DensityTrajectory
    from edviz.widgets.training import TrainingPanel

__all__ = ["TrainingRun", "train"]

STOP_PATIENCE = 120.0
HEARTBEAT_PATIENCE = 300.0


class TrainingRun:
    """A training run, alive or not, known by its directory.

    Parameters
    ----------
    path : str or Path
        A directory that `edviz.train` made.

    Raises
    ------
    edviz.errors.TrainingError
        If there is no run in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.directory = RunDirectory(Path(path).resolve())
        if not self.directory.exists:
            raise TrainingError(
                f"{path}: no training run here (no config.json). Start one with edviz.train(..., out=...)."
            )
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        status = self.status
        done = f"{100 * status.get('progress', 0):.0f} % of {status.get('stage', '-')}"
        return f"TrainingRun({str(self.directory.path)!r}: {status['state']}, {done})"

    @property
    def config(self) -> TrainingConfig:
        """The run's configuration."""
        return TrainingConfig.read(self.directory["config.json"])

    @property
    def pid(self) -> int | None:
        """Process number, or None where no process works on the run."""
        if not self._alive():
            return None
        return self._process.pid if self._process is not None else self.directory.read_json("status.json").get("pid")

    @property
    def status(self) -> dict[str, Any]:
        """State ("running", "stopped", "finished", "failed", "died"), stage, step, progress, seconds_left, error."""
        status = self.directory.read_json("status.json") or {"state": "starting"}
        if status["state"] in ("running", "starting") and not self._alive():
            # it may have ended between the two looks
            status = self.directory.read_json("status.json") or status
            if status["state"] in ("running", "starting"):
                status |= {"state": "died", "error": f"the process is gone{self._last_words()}; call resume() to go on"}
        return status

    def _last_words(self) -> str:
        """The last line of the log, which is all there is where not even the status could be written."""
        lines = [line.strip() for line in self.logs().splitlines() if line.strip()]
        return f' (the last line of its log: "{lines[-1][:500]}")' if lines else ""

    def _alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        status = self.directory.read_json("status.json")
        pid = status.get("pid")
        if pid is None or status["state"] not in ("running", "starting"):
            return False
        if time.time() - self.directory.last_beat() > HEARTBEAT_PATIENCE:
            return False
        if self._elsewhere(status):
            return True  # its heartbeat must do: process numbers mean something on its own machine only
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return False  # the number belongs to somebody else by now
        try:
            # a child of this kernel that ended stays in the process table until its end was asked for
            return os.waitpid(pid, os.WNOHANG)[0] != pid
        except ChildProcessError:
            return True

    @staticmethod
    def _elsewhere(status: dict[str, Any]) -> bool:
        return status.get("host", socket.gethostname()) != socket.gethostname()

    def _launch(self, device: str, devices: int) -> None:
        self.directory.write_json("launch.json", {"device": device, "devices": devices})
        self.directory.write_status(state="starting", pid=None, error=None)
        command = [
            sys.executable,
            "-m",
            "edviz.training.worker",
            str(self.directory.path),
            device,
            str(devices),
        ]
        # the package must be found as it was here, whatever the working directory of the notebook
        root = str(Path(__file__).resolve().parents[2])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        }
        # threads that spin while they wait would fight the notebook kernel for the cores
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        with open(self.directory["log.txt"], "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
        # for whoever attaches before the process, which imports first, can say so itself
        self.directory.write_status(pid=self._process.pid, host=socket.gethostname())

    def metrics(self) -> pd.DataFrame:
        """All records so far.

        Returns
        -------
        pandas.DataFrame
            stage, step, elapsed (s), loss and its terms, learning_rate, frames_per_second, loader_share (of the time,
            spent waiting for batches), validation figures.
        """
        import pandas as pd

        return pd.DataFrame(self.directory.read_metrics())

    def events(self) -> pd.DataFrame:
        """What the run did on its own account or was told: time, kind, stage, step, message."""
        import pandas as pd

        return pd.DataFrame(self.directory.read_events(), columns=["time", "kind", "stage", "step", "message"])

    def logs(self) -> str:
        """What the process printed."""
        log = self.directory["log.txt"]
        return log.read_text(errors="replace") if log.exists() else ""

    def wait(self, progress: bool = True) -> TrainingRun:
        """Block until the run ends, with a progress bar for each stage.

        Raises
        ------
        edviz.errors.TrainingError
            If it failed or died; the text says why.
        """
        bar, stage = None, None
        try:
            while (status := self.status)["state"] in ("starting", "running"):
                if progress and "stage" in status:
                    if status["stage"] != stage or bar is None:
                        stage = status["stage"]
                        if bar is not None:
                            bar.close()
                        bar = tqdm(
                            total=100,
                            desc=stage,
                            bar_format="{desc:>12} {percentage:3.0f}%|{bar}| {elapsed}{postfix}",
                        )
                    bar.n = round(100 * status.get("progress", 0.0), 1)
                    if "loss" in status and stage in ("autoencoder", "diffusion", "decoder"):
                        left = int(status.get("seconds_left", 0))
                        bar.set_postfix_str(
                            f"{left // 60:02d}:{left % 60:02d} left, step {status['step']}, "
                            f"{status.get('steps_per_second', 0):.2f} steps/s, loss {status['loss']:.4f}",
                            refresh=False,
                        )
                    bar.refresh()
                time.sleep(0.5)
        finally:
            if bar is not None:
                bar.close()
        self._wait_for_exit()
        if status["state"] in ("failed", "died"):
            raise TrainingError(f"{self.directory.path}: the run {status['state']}: {status.get('error')}")
        return self

    def stop(self) -> TrainingRun:
        """Ask the process to write a checkpoint and end, and wait until it has."""
        pid = self.pid
        if pid is None:
            return self
        if self._elsewhere(self.directory.read_json("status.json")):
            self.directory.write_json("stop.request", {"time": time.time()})
        else:
            os.kill(pid, signal.SIGTERM)
        self._wait_for_exit()
        if self.status["state"] == "died":  # in its first seconds, before it could answer
            self.directory.write_status(state="stopped")
        return self

    def _wait_for_exit(self) -> None:
        end = time.monotonic() + STOP_PATIENCE
        while self._alive():
            if time.monotonic() > end:
                raise TrainingError(f"{self.directory.path}: the process did not end within {STOP_PATIENCE:g} s.")
            time.sleep(0.05)

    def change(self, **fields: Any) -> TrainingRun:
        """Change learning rate or budget of a run, working or not; it takes them up within a second.

        Parameters
        ----------
        **fields
            ``autoencoder_``, ``diffusion_`` or ``decoder_`` with ``steps``, ``epochs``, ``minutes`` or
            ``learning_rate``. A larger budget of one of the last two lets a finished run `resume`.

        Raises
        ------
        edviz.errors.TrainingError
            For any other field, or a value out of range.
        """
        from edviz.training.control import with_changes

        changes = {**self.directory.read_json("control.json"), **fields}
        with_changes(self.config, changes)
        self.directory.write_json("control.json", changes)
        if self.status["state"] == "finished" and any(name.startswith(("diffusion_", "decoder_")) for name in fields):
            stage = "diffusion" if any(name.startswith("diffusion_") for name in fields) else "decoder"
            self.directory.write_status(state="stopped", stage=stage)
        return self

    def resume(self, device: str | None = None) -> TrainingRun:
        """Go on from the last checkpoint; does nothing to a run that is alive or finished."""
        if self._alive() or self.status["state"] == "finished":
            return self
        launch = self.directory.read_json("launch.json")
        self._launch(device or launch.get("device", "auto"), launch.get("devices", 1))
        return self

    def emulator(self, which: str = "last") -> DensityEmulator:
        """The trained emulator; of a run that still works, what its checkpoints hold.

        Parameters
        ----------
        which : {"last", "best"}
            Averaged weights at the end, or those with the lowest validation loss of the diffusion.

        Raises
        ------
        edviz.errors.TrainingError
            If the diffusion has no checkpoint yet.
        """
        from edviz.emulator import load_emulator
        from edviz.training.assemble import assemble_emulator

        if which not in ("last", "best"):
            raise TrainingError(f'emulator({which!r}): choose "last" or "best".')
        if which == "last" and self.directory["emulator"].exists() and self.status["state"] == "finished":
            return load_emulator(self.directory["emulator"])
        return assemble_emulator(self.directory, which)

    def export(self, folder: str | Path, which: str = "last") -> Path:
        """Write the emulator to a folder that `edviz.load_emulator` reads, with the run's history beside it.

        Parameters
        ----------
        folder : str or Path
            Where to; made if it is not there.
        which : {"last", "best"}
            See `emulator`.

        Returns
        -------
        Path
            The folder: emulator.json, weights.safetensors, metrics.csv, environment.json.
        """
        target = self.emulator(which).save(folder)
        try:
            self.metrics().to_csv(target / "metrics.csv", index=False)
        except OSError as error:
            raise WriteError(f"{target / 'metrics.csv'}: could not be written ({error.strerror}).") from error
        RunDirectory(target).write_json("environment.json", self.directory.read_json("environment.json"))
        return target

    def panel(self) -> TrainingPanel:
        """Watch and steer the run in a notebook."""
        from edviz.widgets.training import TrainingPanel

        return TrainingPanel(self)


def _describe(trajectory: DensityTrajectory) -> dict[str, Any]:
    """What the training data are."""
    return {
        "source": str(trajectory.ds.attrs.get("source", "")),
        "frames": len(trajectory),
        "first_fs": float(trajectory.time[0]),
        "last_fs": float(trajectory.time[-1]),
        "frame_interval_fs": float(trajectory.frame_interval),
        "grid": list(trajectory.grid.shape),
        "density_kind": trajectory.density_kind,
    }


def train(
    trajectory: DensityTrajectory | str | Path,
    config: TrainingConfig | None = None,
    out: str | Path = "runs/edviz",
    device: str = "auto",
    devices: int = 1,
    start_from: str | Path | TrainingRun | None = None,
    launch: bool = True,
    density: str | None = None,
) -> TrainingRun:
    """Start a training run in a process of its own and return at once.

    Parameters
    ----------
    trajectory : DensityTrajectory or path
        The data. Only frames up to `train_end_fs` are used (all of them where the attribute is missing), the last
        part of those for validation: the test block never reaches the training process. Larger data than memory is
        best given as a path to a native file.
    config : TrainingConfig, optional
        Default: ``TrainingConfig.preset("small")``.
    out : str or Path
        A new folder for the run.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a GPU where there is one.
    devices : int
        Number of devices (on the CPU: processes); each takes an equal share of every batch.
    start_from : str, Path or TrainingRun, optional
        Weights to start from (fine-tuning to another temperature or system): a bundled emulator's name, the folder of
        an emulator or of another run. The same as the configuration's field of that name.
    launch : bool
        Start the process. False only prepares the folder, for ``python -m edviz.training.worker`` under torchrun.
    density : {"valence", "total"}, optional
        "total" trains on valence data with the frozen core of each atom added (`DensityTrajectory.with_core`), frame by
        frame as they are read; "valence" makes sure that the data are such. By default what the data hold.

    Returns
    -------
    TrainingRun

    Raises
    ------
    edviz.errors.TrainingError
        If `out` already holds a run, or the data cannot be trained on or are another kind of density.
    edviz.errors.MissingDataError
        If there are too few frames, or an element has no tabulated core.
    edviz.errors.WriteError
        If `out` cannot be written.
    """
    from edviz.io import open as open_trajectory
    from edviz.training.assemble import fingerprint, training_part, wanted_density
    from edviz.training.data import block_frames, stored_frames_per_step

    if device not in ("auto", "cpu", "cuda"):
        raise TrainingError(f'device = {device!r}: choose "auto", "cpu" or "cuda".')
    if launch:
        require_devices(device, devices)
    config = config or TrainingConfig.preset("small")
    if start_from is not None:
        where = start_from.directory.path if isinstance(start_from, TrainingRun) else start_from
        config = dataclasses.replace(config, start_from=str(where))
    for stage in ("autoencoder", "diffusion"):
        if config.start_from is None and config.stage_steps(stage, 1) == 0:
            raise TrainingError(
                f"{stage}_steps = 0 keeps the weights that start_from names, and it names none: give it, or steps."
            )
    for name in ("autoencoder_batch", "diffusion_batch"):
        if devices < 1 or getattr(config, name) % devices:
            raise TrainingError(
                f"{name} = {getattr(config, name)} cannot be shared by {devices} devices: choose a multiple."
            )
    directory = RunDirectory(Path(out).resolve())
    if directory.exists:
        raise TrainingError(
            f"{out}: already holds a run. Go on with it: edviz.TrainingRun({str(out)!r}).resume(); "
            "or choose another folder."
        )
    given = Path(trajectory).resolve() if isinstance(trajectory, (str, Path)) else None
    loaded: DensityTrajectory = open_trajectory(given) if given is not None else trajectory  # type: ignore[assignment]
    if loaded.is_ensemble:
        raise TrainingError("training needs a single trajectory; choose one sample: traj.sample(0).")
    stored = training_part(loaded)
    loaded = training_part(wanted_density(loaded, density, given or "the trajectory"))
    stride = stored_frames_per_step(loaded, config.frame_interval)
    needed = stride * (config.n_context + 1) + 1
    if len(loaded) < 10 * needed:
        raise MissingDataError(f"{len(loaded)} frames of training data are too few: give at least {10 * needed}.")
    for part in ("fit", "validation"):
        block_frames(loaded, part)
    start = None
    if config.start_from is not None:
        from edviz.training.assemble import fitting_config, start_emulator

        start = start_emulator(config.start_from)
        config = fitting_config(config, start, loaded)
    description = {**_describe(loaded), "sha256": fingerprint(loaded if given is None else stored)}
    directory.create()
    if start is not None:
        start.save(directory["start"])
    if given is None:
        loaded.to_file(directory["data.h5"])  # cores included
    elif density is not None:
        description["density"] = density
    directory.write_json("data.json", {"path": str(given) if given is not None else "data.h5", **description})
    directory.write_json("config.json", config.to_dict())  # last: its presence makes the folder a run
    run = TrainingRun(directory.path)
    if launch:
        run._launch(device, devices)
    else:
        directory.write_json("launch.json", {"device": device, "devices": devices})
        directory.write_status(state="prepared")
    return run
