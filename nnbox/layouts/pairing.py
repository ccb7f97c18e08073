"""Images and labels to cases, and what is left over on either side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnbox.errors import Problem
from nnbox.layouts.draft import CaseTable, error
from nnbox.layouts.names import Grouping, make_case, one_file_each


def pair(images: Grouping, label_files: Sequence[str], image_folder: str, label_folder: str) -> CaseTable:
    """Pair image groups with label files of the same name; what has no partner is an error each."""
    labels = one_file_each(label_files)
    problems: list[Problem] = [*images.problems, *labels.problems]
    reported = {problem.case for problem in problems}
    cases = []
    for name, files in images.images.items():
        if name in labels.images:
            cases.append(make_case(name, files, labels.images[name][0]))
        elif name not in reported:
            problems.append(missing_label(name, files[0], label_folder))
    for name, files in labels.images.items():
        if name not in images.images and name not in reported:
            problems.append(label_without_image(name, files[0], image_folder))
    return CaseTable(cases=tuple(cases), problems=tuple(problems))


def unlabelled(images: Grouping) -> CaseTable:
    """Return the image groups as cases without labels."""
    cases = tuple(make_case(name, files) for name, files in images.images.items())
    return CaseTable(cases=cases, problems=images.problems)


def without_shared_names(training: CaseTable, test: CaseTable) -> CaseTable:
    """Return the unlabelled cases; one that bears a labelled case's name is an error."""
    taken: Mapping[str, str] = {case.name: case.images[0] for case in training.cases}
    problems = [
        error(
            f"the unlabelled image bears the name of the labelled case {taken[case.name]}",
            "different names for different cases",
            f"rename one of the two, or leave both out with --exclude {case.name}",
            case=case.name,
            file=case.images[0],
        )
        for case in test.cases
        if case.name in taken
    ]
    kept = tuple(case for case in test.cases if case.name not in taken)
    return CaseTable(cases=kept, problems=(*test.problems, *problems))


def missing_label(case: str, image: str, where: str) -> Problem:
    """Return the finding for an image without a label."""
    remedy = f"put the label map there, or leave the case out with --exclude {case}"
    return error("the label is missing", f"a label map for it at {where}", remedy, case=case, file=image)


def label_without_image(case: str, label: str, where: str) -> Problem:
    """Return the finding for a label without an image."""
    remedy = f"put the image there, or leave the case out with --exclude {case}"
    return error("the label has no image", f"an image for it at {where}", remedy, case=case, file=label)
