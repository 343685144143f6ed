"""Claims of the studies and papers that Reslab follows, each with the comparisons of our studies that can answer it."""

from dataclasses import dataclass

MORE, LESS, SAME = "more", "less", "the same"


@dataclass(frozen=True)
class Check:
    """A comparison that answers a claim: an arm minus another, or a contrast of the study where `other` is None."""

    study: str
    arm: str
    other: str | None = None
    other_study: str | None = None  # of the other arm, if it is not the same study; both share their protocol


@dataclass(frozen=True)
class Claim:
    """A sentence, who claims it with which figure, what it expects of the difference, and the checks that can answer it."""

    sentence: str
    source: str
    figure: str  # the source's own difference, in points of accuracy, with its conditions; empty: it states none
    expects: str  # MORE, LESS or SAME
    checks: tuple[Check, ...]


CIFAR_STUDY = "the XResNet / Mish / SE / ResNeXt CIFAR-10 study"
SKIP_STUDY = "the study of ResNet-18 against a plain CNN, CIFAR-10"
HE_2015 = "He et al. 2015"
WU_2018 = "Wu & He 2018, ImageNet"
DEEPER = "the skip connection's gain at"


def _trick(sentence, arm, before, points):
    return Claim(sentence, CIFAR_STUDY, f"+{points} (180 epochs)", MORE, (Check("bag_of_tricks", arm, before),))


def _norm(sentence, norm, source, figure):
    return Claim(sentence, source, figure, LESS, (Check("normalization", norm, "batch"),))


CLAIMS = (
    Claim(
        "The skip connection helps",
        f"{SKIP_STUDY}; {HE_2015}",
        "+10 (18 layers, 50 epochs)",
        MORE,
        (Check("residual_vs_plain", "resnet18", "plain18"), Check("residual_vs_plain", "resnet20", "plain20")),
    ),
    Claim(
        "The skip connection helps more in deeper networks",
        f"{HE_2015}, section 4.2",
        "",
        MORE,
        tuple(
            Check("residual_vs_plain", f"{DEEPER} {depths}")
            for depths in ("34 layers over that at 18", "56 layers over that at 20")
        ),
    ),
    Claim(
        "Plain networks get worse with depth",
        f"{SKIP_STUDY}; {HE_2015}",
        "-4 (34 against 18 layers)",
        LESS,
        (Check("residual_vs_plain", "plain34", "plain18"), Check("residual_vs_plain", "plain56", "plain20")),
    ),
    _trick("Mish is better than ReLU", "+ Mish", "xresnet20", 0.25),
    _trick("Squeeze-and-excitation helps", "+ SE", "+ Mish", 0.12),
    _trick("A cosine schedule helps", "+ cosine", "+ SE", 0.28),
    _trick("Label smoothing helps", "+ label smoothing", "+ cosine", 0.04),
    _trick("Mixup helps", "+ mixup", "+ label smoothing", 0.46),
    _trick("Reflection padding helps", "+ reflection padding", "+ mixup", 0.13),
    Claim(
        "With all tricks on, 56 layers are better than 20",
        CIFAR_STUDY,
        "+1.26 (180 epochs)",
        MORE,
        (Check("depth", "se-mxresnet56", "se-mxresnet20"),),
    ),
    Claim(
        "Sixteen groups are better than one at equal cost",
        f"{CIFAR_STUDY}; Xie et al. 2017",
        "+0.92 (180 epochs)",
        MORE,
        (Check("resnext", "C = 16, width 2", "C = 1, width 16"),),
    ),
    Claim(
        "ResNeXt-29 with all tricks beats depth 56 at half the parameters",
        CIFAR_STUDY,
        "+0.32 (180 epochs)",
        MORE,
        (Check("resnext", "C = 16, all tricks", "se-mxresnet56", "depth"),),
    ),
    Claim(
        "In batches of 128, group norm is worse than batch norm",
        WU_2018,
        "-0.5 (batches of 32)",
        LESS,
        (Check("batch_size", "group, batch 128", "batch, batch 128"),),
    ),
    Claim(
        "In batches of 8, group norm is better than batch norm",
        WU_2018,
        "+0.8",
        MORE,
        (Check("batch_size", "group, batch 8", "batch, batch 8"),),
    ),
    _norm("Instance norm is worse than batch norm", "instance", WU_2018, "-4.8"),
    _norm("Layer norm is worse than batch norm", "layer", WU_2018, "-1.7"),
    _norm("Without a norm a residual network is worse", "none", "Ioffe & Szegedy 2015", ""),
    Claim(
        "Mini-ResNets of basic blocks are better than those of bottlenecks, which cost a twelfth",
        "the Mini-ResNet study on 25 classes of Tiny-ImageNet",
        "",
        LESS,
        (Check("block_design", "mini-bottleneck-post", "mini-basic-post"),),
    ),
    Claim(
        "Pre- and post-activation are the same at this depth",
        "He et al. 2016, which finds gains in much deeper networks",
        "+0.2 (110 layers)",
        SAME,
        (Check("block_design", "mini-basic-pre", "mini-basic-post"),),
    ),
    Claim(
        "From five images a class, a network that knows other classes learns better than a new one",
        "Yosinski et al. 2014",
        "",
        MORE,
        (Check("transfer", "fine-tuned", "from scratch"),),
    ),
)
