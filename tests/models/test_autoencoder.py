"""The autoencoder: what holds by construction holds for any weights."""

import pytest
import torch

from edviz.models.autoencoder import STRIDE, Autoencoder, working_shape


def small(**arguments):
    torch.manual_seed(3)
    model = Autoencoder(fine_channels=8, coarse_channels=12, **arguments)
    for parameter in model.parameters():  # away from the initial identity blocks
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def field(*shape):
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) + 0.05


@pytest.mark.parametrize("logarithmic", [False, True])
def test_translation_by_latent_voxels_translates_the_output(logarithmic):
    model, x = small(logarithmic=logarithmic), field(16, 12, 20)
    shift = (STRIDE, 2 * STRIDE, -STRIDE)
    torch.testing.assert_close(model(x.roll(shift, (1, 2, 3))), model(x).roll(shift, (1, 2, 3)), rtol=1e-5, atol=1e-5)
    latent_shift = (1, 2, -1)
    torch.testing.assert_close(
        model.encode(x.roll(shift, (1, 2, 3))), model.encode(x).roll(latent_shift, (2, 3, 4)), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(16, 16, 16), (15, 18, 13), (10, 33, 12)])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_positive_and_conserving_on_grids_that_strides_do_not_divide(shape, logarithmic):
    model, x = small(logarithmic=logarithmic), 7 * field(*shape)
    y = model(x)
    assert y.shape == x.shape
    assert y.min() > 0
    assert (y.double().mean((1, 2, 3)) - 1).abs().max() < 1e-5


def test_latent_is_bounded_and_compresses_sixteenfold():
    model = small(latent_bound=2.0)
    z = model.encode(1e3 * field(32, 32, 32) ** 8)
    assert z.abs().max() <= 2.0
    assert 32**3 / z[0].numel() == 16


def test_scale_of_the_density_does_not_matter():
    model, x = small(), field(12, 12, 12)
    torch.testing.assert_close(model(x), model(0.0419 * x), rtol=1e-5, atol=1e-6)


def test_working_shape():
    assert working_shape((32, 45, 7)) == (32, 48, 12)


def test_arguments_rebuild_the_model():
    model = small(latent_channels=6)
    twin = Autoencoder(**model.arguments)
    twin.load_state_dict(model.state_dict())
    x = field(12, 12, 12)
    torch.testing.assert_close(twin(x), model(x))


def test_of_three_frames_the_middle_one_is_reconstructed_and_all_latents_come_with_it():
    model, x = small(), field(16, 12, 20)
    frames = torch.stack((x.flip(1), x, x.flip(2)), dim=1)
    output, latents = model(frames)
    torch.testing.assert_close(output, model(x))
    for n in range(3):
        torch.testing.assert_close(latents[:, n], model.encode(frames[:, n]))
