"""Layers: inverse pairs and exact equivariance."""

import torch

from edviz.models.layers import PeriodicConv3d, ResidualBlock, depth_to_space, space_to_depth


def test_space_to_depth_is_inverted_and_pins_the_axis_order():
    x = torch.arange(2 * 3 * 4 * 6 * 8.0).reshape(2, 3, 4, 6, 8)
    y = space_to_depth(x)
    assert y.shape == (2, 24, 2, 3, 4)
    assert torch.equal(depth_to_space(y), x)
    # channel (0, i, j, k) of voxel (p, q, r) is the value at (2p+i, 2q+j, 2r+k)
    assert y[0, 0 * 8 + 0b110, 1, 2, 3] == x[0, 0, 3, 5, 6]


def test_convolution_and_block_commute_with_translations_on_an_uneven_grid():
    torch.manual_seed(0)
    x = torch.randn(1, 5, 6, 7, 4)
    block = ResidualBlock(5)
    torch.nn.init.normal_(block.second.weight, std=0.1)
    for layer in (PeriodicConv3d(5, 5), block):
        moved = layer(x.roll((1, 2, 3), (2, 3, 4)))
        torch.testing.assert_close(moved, layer(x).roll((1, 2, 3), (2, 3, 4)))


def test_fresh_block_is_the_identity():
    x = torch.randn(1, 4, 4, 4, 4)
    torch.testing.assert_close(ResidualBlock(4)(x), x)


def test_one_item_without_gradients_gives_what_it_gives_among_others():
    torch.manual_seed(0)
    layer, x = PeriodicConv3d(6, 5), torch.randn(2, 6, 5, 4, 3)
    with torch.no_grad():
        together, alone = layer(x), layer(x[:1])
    torch.testing.assert_close(alone, together[:1])
    torch.testing.assert_close(layer(x[:1]), alone)  # with gradients: another way to the same numbers
