"""A trained model as the metrics see it: codes, bounds, samples, features, each computed when first asked for, once."""

import functools
from collections.abc import Callable

import numpy as np

from vaex import config as configuration
from vaex.config.evaluation import Common
from vaex.data.dataset import Split, type_of_images
from vaex.disk import saved
from vaex.judging.subject import Bounds, Codes, Features
from vaex.study import quantities
from vaex.trained.model import Model, Tell

GREY = "not a likelihood of grey pixels: bernoulli with binarize=none is a cross-entropy, which no density is"
UNKNOWN = "not known to be a log density or probability of the data: likelihood={name}"


class ModelSubject:
    """The model, and the images it is judged by. `tell` hears how far the bounds are, and may end them."""

    def __init__(self, model: Model, common: Common, tell: Tell):
        self.split, self.seed, self.dataset = common.split, common.seed, model.dataset
        self.named = saved.named_data(model.config.dataset)
        self.labels_named = model.dataset.labels_named
        self.pixels = int(np.prod(model.dataset.shape))
        self._model, self._common, self._tell = model, common, tell
        self.codes: Callable[[str], Codes] = functools.cache(self._codes)
        self.bounds: Callable[[], Bounds] = functools.cache(self._bounds)
        self.features: Callable[[], Features] = functools.cache(self._features)

    @property
    def no_density(self) -> str | None:
        """Why log p(x|z) is no log probability of the data, or None."""
        config, values = self._model.config, self._model.dataset.values
        source = quantities.of_configuration(configuration.dump(config))
        kind = quantities.quantity(source, "bound").likelihood
        white = 255 if self._model.dataset.train.images.dtype == np.uint8 else 1
        if kind == quantities.BERNOULLI["none"]:
            return None if values.few and (values.low, values.high) == (0, white) else GREY
        known = (quantities.DENSITY, *quantities.BERNOULLI.values())
        return None if kind in known else UNKNOWN.format(name=config.likelihood.name)

    def images(self, split: str) -> type_of_images:
        """The first `limit` of a split."""
        return self._rows(split).in_memory().images

    def count(self) -> int:
        """How many images are judged."""
        return len(self._rows(self.split).images)

    def samples(self, count: int) -> type_of_images:
        """E[x|z] at z from the prior."""
        return self._model.samples(count, self.seed)

    def _rows(self, split: str) -> Split:
        rows: Split = getattr(self._model.dataset, split)
        return rows.take(slice(self._common.limit))

    def _codes(self, split: str) -> Codes:
        rows = self._rows(split)
        mu, sigma = self._model.encode(rows.images, self.seed)
        return Codes(mu, sigma, rows.labels)

    def _bounds(self) -> Bounds:
        return self._model.bounds(self._rows(self.split).images, self._common.samples, self.seed, self._tell)

    def _features(self) -> Features:
        from vaex.trained.features import features

        return features(self._model.dataset)
