"""How `experiment` makes a training of a config, and how it evaluates."""

import jax
import numpy as np
import pytest

from configs.mtl import digits
from mtl import experiment, networks
from mtl.data import datasets
from mtl.data.datasets import Dataset
from mtl.data.readers import Images
from mtl.tasks.network import Mlp


def smoke(**fields):
    c = digits.get_config("smoke")
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return c


@pytest.fixture(scope="module")
def dataset():
    return datasets.load(smoke().data)


def kernel(training):
    return np.asarray(training.params["encoder"]["1"]["kernel"])


def test_the_fields_of_the_config_reach_the_training(dataset):
    fields = dict(order="joint", monitor="valid/loss", batch_size=7)
    fields |= dict(eval_every=3, save_every=4, patience=25)
    training = experiment.make_training(smoke(**fields), dataset)
    for name, value in fields.items():
        assert getattr(training, name) == value
    assert training.loss_weights.shape == (40, 2)
    assert training.learning_rates.shape == (40,)


def test_the_optimizer_is_the_one_of_the_config(dataset):
    for name, size in (("sgd", 3.0), ("adam", 1.0)):
        training = experiment.make_training(smoke(optim__name=name), dataset)
        opt = training.optimizer
        (step,), _ = opt.update([np.float32(3)], opt.init([np.float32(0)]))
        assert step == pytest.approx(-size, rel=1e-5)


def test_the_seed_decides_parameters_labelled_rows_and_key(dataset):
    one, same, other = (
        experiment.make_training(smoke(seed=s), dataset) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(kernel(one), kernel(same))
    assert (kernel(one) != kernel(other)).any()
    assert (one.data["image"][:50] != other.data["image"][:50]).any()
    keys = [jax.random.key_data(t.key).tolist() for t in (one, same, other)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("method", "unlabelled"),
    [("baseline", 0), ("baseline_matched", 30), ("exponential", 30)],
)
def test_only_the_baseline_has_no_unlabelled_images(dataset, method, unlabelled):
    c = smoke(method=method, data__labelled=20, data__unlabelled=30)
    label = np.asarray(experiment.make_training(c, dataset).data["label"])
    assert (label >= 0).sum() == 20
    assert (label < 0).sum() == unlabelled


def test_the_labelled_images_follow_the_data_if_not_balanced():
    y = np.array([0] * 90 + [1] * 10, np.int32)
    images = Images(np.zeros((100, 4), np.float32), y)
    dataset = Dataset(images, images, images, (4,), 2)
    for balanced, ones in ((True, [10]), (False, range(8))):
        c = smoke(data__labelled=20, data__unlabelled=0, data__balanced=balanced)
        label = np.asarray(experiment.make_training(c, dataset).data["label"])
        assert label.sum() in ones


def test_statistics_for_the_evaluation_are_those_of_all_training_images(dataset):
    fields = dict(model__norm="batch", unsupervised="vat", data__unlabelled=200)
    training = experiment.make_training(smoke(**fields), dataset)
    settled = training.finalize_params(training.params)["statistics"]["1"]
    z = np.asarray(training.data["image"], float) @ kernel(training)
    assert len(z) == 250
    np.testing.assert_allclose(settled["mean"], z.mean(0), 1e-3, 1e-4)
    np.testing.assert_allclose(settled["variance"], z.var(0), 1e-3)


def test_errors_and_losses_of_each_set_are_means_over_its_images():
    """Logits are (x, 0): a row is right if x > 0 and y = 0, or x < 0 and y = 1."""
    identity = {"kernel": np.eye(1), "bias": np.zeros(1)}
    params = {
        "encoder": {"1": identity},
        "classifier": {"kernel": np.array([[1.0, 0.0]]), "bias": np.zeros(2)},
    }
    sets = {
        "valid": Images(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 0, 0, 1])),
        "test": Images(np.array([[5.0], [6.0]]), np.array([1, 0])),
    }
    row = experiment.make_evaluate(Mlp(1, (1,), 2, "relu"), sets)(params)
    wrong = np.log(1 + np.exp([4.0, 5.0]))
    right = np.log(1 + np.exp([-1.0, -2, -3, -6]))
    assert row["valid/error"] == 0.25
    assert row["test/error"] == 0.5
    assert row["valid/loss"] == pytest.approx((right[:3].sum() + wrong[0]) / 4, 1e-5)
    assert row["test/loss"] == pytest.approx((right[3] + wrong[1]) / 2, 1e-5)


def test_validation_and_test_images_are_told_apart(dataset):
    training = experiment.make_training(smoke(), dataset)
    network = networks.build(smoke(), dataset.shape, dataset.classes)
    alone = experiment.make_evaluate(network, {"test": dataset.test})
    row = training.evaluate(training.params)
    assert row["test/loss"] == alone(training.params)["test/loss"]
    assert row["valid/loss"] != row["test/loss"]
