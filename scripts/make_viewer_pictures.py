"""Pictures of the viewer and the comparison panel in JupyterLab, as docs/images has them.

Needs chromium and the extras `lab` and `test`:  python scripts/make_viewer_pictures.py [folder]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.widgets.browser import Lab, View, launched  # noqa: E402

VIEWER = """import edviz
traj = edviz.load_sample("lithium-800K")
traj.view(frame=25, fraction=0.5, show_bonds=False)"""
COMPARISON = """import edviz
traj = edviz.load_sample("lithium-800K")
test = traj.split("test")
emulator = edviz.load_emulator("lithium-800K")
generated = emulator.rollout(test[:3], n_frames=60, n_samples=2, seed=0)
panel = edviz.compare(generated, test)
panel"""
IMAGES = ROOT / "docs" / "images"


def main(folder: Path) -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as temporary, launched() as browser:
        lab = Lab(Path(temporary))
        try:
            page = browser.new_page(viewport={"width": 1200, "height": 860})
            notebook = lab.open(page, "viewer.ipynb", VIEWER)
            notebook.command("application:toggle-left-area")
            notebook.run_first_cell()
            view = View(page)
            view.wait("edviz.stats.drawnFrame === 25", 120)
            page.wait_for_timeout(3000)
            page.screenshot(path=folder / "viewer.png")

            page.set_viewport_size({"width": 1400, "height": 1080})
            notebook = lab.open(page, "comparison.ipynb", COMPARISON)
            notebook.command("application:toggle-left-area")
            notebook.run_first_cell()
            page.locator(".edviz").first.wait_for(timeout=300_000)
            page.locator(".edviz-figure .main-svg").first.wait_for(timeout=120_000)
            notebook.ask("panel.generated_view.frame, panel.aimd.frame = 20, 23; panel.difference_view.frame = 20")
            for number, frame in enumerate((23, 20, 20)):
                View(page, number).wait(f"edviz.stats.drawnFrame === {frame}", 120)
            notebook.ask("panel.wait(120)")
            page.evaluate("document.querySelector('.edviz-panel').scrollIntoView()")
            page.wait_for_timeout(3000)
            for number in range(3):
                View(page, number).wait("edviz.session.answering", 120)
            page.screenshot(path=folder / "comparison.png")
        finally:
            lab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
