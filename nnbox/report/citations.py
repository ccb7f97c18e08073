"""What to cite: BibTeX of the method, of the measures and of nnbox itself."""

from __future__ import annotations

from nnbox.records.plan import Plan

_2018 = r"""@misc{isensee2018nnunet,
  author        = {Isensee, Fabian and Petersen, Jens and Klein, Andre and Zimmerer, David and Jaeger, Paul F. and
                   Kohl, Simon and Wasserthal, Jakob and Koehler, Gregor and Norajitra, Tobias and Wirkert, Sebastian
                   and Maier-Hein, Klaus H.},
  title         = {{nnU-Net}: Self-adapting Framework for {U-Net}-Based Medical Image Segmentation},
  year          = {2018},
  eprint        = {1809.10486},
  archivePrefix = {arXiv}
}"""
_2019 = r"""@misc{isensee2019nnunet,
  author        = {Isensee, Fabian and Petersen, Jens and Kohl, Simon A. A. and J{\"a}ger, Paul F. and
                   Maier-Hein, Klaus H.},
  title         = {{nnU-Net}: Breaking the Spell on Successful Medical Image Segmentation},
  year          = {2019},
  eprint        = {1904.08128},
  archivePrefix = {arXiv}
}"""
_2021 = r"""@article{isensee2021nnunet,
  author  = {Isensee, Fabian and Jaeger, Paul F. and Kohl, Simon A. A. and Petersen, Jens and Maier-Hein, Klaus H.},
  title   = {{nnU-Net}: a self-configuring method for deep learning-based biomedical image segmentation},
  journal = {Nature Methods},
  volume  = {18},
  pages   = {203--211},
  year    = {2021},
  doi     = {10.1038/s41592-020-01008-z}
}"""
_SURFACE = r"""@article{nikolov2021surface,
  author  = {Nikolov, Stanislav and others},
  title   = {Clinically Applicable Segmentation of Head and Neck Anatomy for Radiotherapy: Deep Learning Algorithm
             Development and Validation Study},
  journal = {Journal of Medical Internet Research},
  volume  = {23},
  number  = {7},
  pages   = {e26151},
  year    = {2021},
  doi     = {10.2196/26151}
}"""


def bibtex(plan: Plan, version: str, *, scored: bool) -> str:
    """Return the entries to cite for a run.

    Args:
        plan: its recipe decides which papers.
        version: of nnbox, as it names itself.
        scored: whether surface Dice was measured.
    """
    entries = [_2018] if plan.recipe == "2018" else [_2018, _2019]
    entries += [_2021] if plan.recipe == "2021" else []
    entries += [_SURFACE] if scored else []
    entries.append(f"@software{{nnbox,\n  title   = {{nnbox}},\n  version = {{{version.removeprefix('nnbox ')}}}\n}}")
    return "\n\n".join(entries) + "\n"
