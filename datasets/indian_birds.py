"""25 Indian bird species, 256x256: `data_dir/indian_birds` with train, val (or valid) and test, a folder for each species.

The set is published on Kaggle, from where it is downloaded by hand (search for "25 Indian bird species").
"""

from dataclasses import replace

from datasets.folder import list_folder, load_listing
from foundation.errors import UserError, unknown

SPECIES = (
    "Asian Green Bee Eater",
    "Brown Headed Barbet",
    "Cattle Egret",
    "Common Kingfisher",
    "Common Myna",
    "Common Rosefinch",
    "Common Tailorbird",
    "Coppersmith Barbet",
    "Forest Wagtail",
    "Gray Wagtail",
    "Hoopoe",
    "House Crow",
    "Indian Grey Hornbill",
    "Indian Peacock",
    "Indian Pitta",
    "Indian Roller",
    "Jungle Babbler",
    "Northern Lapwing",
    "Red Wattled Lapwing",
    "Ruddy Shelduck",
    "Rufous Treepie",
    "Sarus Crane",
    "White Breasted Kingfisher",
    "White Breasted Waterhen",
    "White Wagtail",
)
LETTERS = {"".join(filter(str.isalpha, name)).lower(): name for name in SPECIES}


def load(request):
    """The published splits. Raises UserError where the folder is missing or its species are not the 25."""
    root = request.data_dir / "indian_birds"
    if not root.is_dir():
        raise UserError(
            f"no folder {root}: download the 25 Indian bird species from Kaggle and unpack them there (train, valid and test, "
            "each with a folder for every species)"
        )
    source = load_listing(list_folder(root, species), replace(request, image_size=request.image_size or 256))
    missing = sorted(set(SPECIES) - set(source.class_names))
    if missing:
        raise UserError(f"{root / 'train'} lacks {len(missing)} of the 25 species: {', '.join(missing[:5])}")
    return source


def species(folder) -> str:
    """The species a folder is named after, whatever its case, spaces and hyphens. Raises UserError."""
    letters = "".join(filter(str.isalpha, folder)).lower()
    if letters not in LETTERS:
        raise unknown("species", folder, SPECIES)
    return LETTERS[letters]
