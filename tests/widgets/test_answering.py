"""The route of a page's messages, with the comms of a real kernel."""

import ipywidgets
import pytest
from ipykernel.comm.comm import BaseComm

import edviz
from edviz.widgets.answering import answer_in_subshell
from edviz.widgets.viewer import TrajectoryViewer


class MainShellSpokeLast(BaseComm):
    """As ipykernel leaves a comm after a cell has sent something through it."""

    def publish_msg(self, *args, **kwargs):
        self._reply_subshell_id = None


def route(comm, named):
    """Where ipykernel's shell_channel_thread_main sends a message that names a subshell."""
    found = getattr(comm, "_reply_subshell_for", None)
    return named if found is None else found({"method": "custom"}, named)


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr("comm.create_comm", lambda **arguments: MainShellSpokeLast(**arguments))


def test_ipykernel_sends_the_messages_of_a_plain_widget_to_the_shell_that_spoke_last(kernel):
    assert route(ipywidgets.IntSlider().comm, "subshell") is None


def test_a_viewer_keeps_the_shell_that_its_page_names(kernel):
    viewer = TrajectoryViewer(edviz.load_sample("lithium-800K")[:2])
    assert route(viewer.comm, "subshell") == "subshell"
    viewer.close()


def test_so_does_any_widget_that_is_asked_to(kernel):
    slider = ipywidgets.IntSlider()
    answer_in_subshell(slider)
    assert route(slider.comm, "subshell") == "subshell"


def test_comms_of_other_kernels_are_left_alone():
    slider = ipywidgets.IntSlider()  # no kernel here: a comm that does nothing
    before = dict(vars(slider.comm))
    answer_in_subshell(slider)
    assert vars(slider.comm) == before
