"""The image as an algorithm on grand-challenge.org: rehearsed inside it, then run as the platform runs it."""

from container import docker, nnbox, shell


def test_a_handed_over_model_predicts_one_case_as_on_the_platform(trained, volumes):
    volume, _ = trained
    results, model = volumes("results"), volumes("model")
    words = ("handover", "--model", "/input/nnbox/model", "--input-slugs", "mri", "--output-slug", "lesions")
    words += ("--renumber-labels",)
    mounts = ("-v", f"{volume}:/input:ro", "-v", f"{results}:/output")
    rehearsed = nnbox(*words, "--output", "/output/handover", options=("--network", "none", *mounts))
    assert "model.tar.gz" in rehearsed.out

    # The platform unpacks the archive at /opt/ml/model and gives one case.
    given, written = volumes("given"), volumes("written")
    shell("tar -xzf /output/handover/model.tar.gz -C /to", "-v", f"{results}:/output:ro", "-v", f"{model}:/to")
    script = "mkdir -p /to/images/mri && cp $(ls /input/Task01_Smoke/imagesTs/* | head -1) /to/images/mri/x.nii.gz"
    shell(script, "-v", f"{volume}:/input:ro", "-v", f"{given}:/to")
    done = nnbox(
        options=(
            *("--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "8g"),
            *("-v", f"{given}:/input:ro", "-v", f"{written}:/output", "-v", f"{model}:/opt/ml/model:ro"),
        )
    )
    assert done.err == ""
    found = shell("cd /output && find . -type f", "-v", f"{written}:/output").split()
    assert found == ["./images/lesions/x.mha"]
    head = shell('head -c 400 /output/images/lesions/x.mha | tr -cd "[:print:]\\n"', "-v", f"{written}:/output")
    assert "ElementType = MET_UCHAR" in head or "NDims = 3" in head


def test_a_model_without_slugs_is_refused_as_an_algorithm(trained, volumes):
    volume, _ = trained
    given = volumes("given")
    script = "mkdir -p /to/images/mri && cp $(ls /input/Task01_Smoke/imagesTs/* | head -1) /to/images/mri/x.nii.gz"
    shell(script, "-v", f"{volume}:/input:ro", "-v", f"{given}:/to")
    mounts = ("-v", f"{given}:/input:ro", "-v", f"{volume}:/volume:ro", "-v", f"{volumes('written')}:/output")
    words = ("run", "--rm", *mounts, "nnbox", "predict", "--model", "/volume/nnbox/model")
    done = docker(*words)
    assert done.code == 2
    assert "handover" in done.err
