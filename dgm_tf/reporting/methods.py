"""Methods as tables call them, and the paper's numbers of them."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as commands call it.
        label: as tables call it.
        published: accuracy in percent after 5 and after 10 tasks of one class in Table 1 of
            Ostapenko et al. 2018, by learner (variants differ) and by data set.
    """

    name: str
    label: str
    published: Mapping[str, Mapping[str, tuple[float, float]]]


def _published(mnist: tuple[float, float], svhn: tuple[float, float]) -> dict:
    return {"mnist": mnist, "svhn_cropped": svhn}


_DGM = {
    "dgm-w": _published((98.26, 96.33), (80.37, 67.05)),
    "dgm-a": _published((99.17, 98.14), (84.18, 68.36)),
}
_JOINT = {"joint": _published((97.66, 98.10), (85.30, 84.82))}
_EWC = {"ewc": _published((70.62, 77.03), (39.84, 33.02))}
_DGR = {"dgr": _published((90.39, 85.40), (61.29, 47.28))}
_MERGAN = _published((98.19, 97.00), (80.90, 66.78))

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("dgm", "DGM", _DGM),
        Method("joint", "joint training", _JOINT),
        Method("joint_gan", "joint training of the GAN", {}),
        Method("fine_tune", "fine-tuning", {}),
        Method("ewc", "EWC", _EWC),
        Method("dgr", "DGR", _DGR),
        Method("mergan_jtr", "MeRGAN-JTR", {"mergan_jtr": _MERGAN}),
        Method("mergan_ra", "MeRGAN-RA", {"mergan_ra": _MERGAN}),
    )
}
