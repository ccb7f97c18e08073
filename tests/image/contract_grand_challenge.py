"""The image as an algorithm on grand-challenge.org: handed over inside it, started as the platform starts it."""

import pytest
from container import docker, nnbox, shell

_PLATFORM = ("--network", "none", "--user", "1000:1000")
_HOSTILE = (
    *("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "65534:65534", "--memory", "8g", "--pids-limit", "256"),
)
_HANDOVER = (
    *("handover", "--model", "/input/nnbox/model", "--input-slugs", "mr-image", "--output-slug", "organ"),
    *("--output", "/handed", "--renumber-labels"),
)


@pytest.fixture(scope="module")
def handed_over(trained, volumes):
    """A volume with the model as the platform unpacks it, one with a job's input, and what the handover printed."""
    volume, _ = trained
    handed, model, job = volumes("handed"), volumes("model"), volumes("job")
    # With the right to make namespaces the whole rehearsal is held, /opt/ml/model and another user included.
    rights = ("--user", "0", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined", "--network", "none")
    done = nnbox(*_HANDOVER, options=(*rights, "-v", f"{volume}:/input", "-v", f"{handed}:/handed"), timeout=600)
    shell("tar -xzf /handed/model.tar.gz -C /model", "-v", f"{handed}:/handed", "-v", f"{model}:/model")
    put = (
        "mkdir -p /job/images/mr && cp $(ls /input/Task01_Smoke/imagesTs/*.nii.gz | head -1) /job/images/mr/scan.nii.gz"
    )
    listing = '[{"socket": {"slug": "mr-image", "relative_path": "images/mr", "super_kind": "Image"}, "image": {}}]'
    shell(f"{put} && echo '{listing}' > /job/inputs.json", "-v", f"{volume}:/input:ro", "-v", f"{job}:/job")
    return model, job, done


def test_the_rehearsal_in_the_image_is_held_under_the_platforms_limits(handed_over):
    said = handed_over[2].out
    for words in ("none (its own namespace)", "65534, without capabilities", "/opt/ml/model", "takes it"):
        assert words in said
    assert "REFUSES" not in said
    assert "is written as 2" in said


@pytest.mark.parametrize("limits", [_PLATFORM, _HOSTILE])
def test_without_a_verb_one_case_gives_one_label_map_and_nothing_else(handed_over, volumes, limits):
    model, job, _ = handed_over
    output = volumes("output")
    shell("chmod 1777 /output", "-v", f"{output}:/output")
    mounts = ("-v", f"{job}:/input:ro", "-v", f"{model}:/opt/ml/model:ro", "-v", f"{output}:/output")
    done = nnbox(options=(*limits, *mounts))
    assert "the platform's output: /output/images/organ/scan.mha" in done.out
    assert shell("find /output -mindepth 1 ! -type d", "-v", f"{output}:/output") == "/output/images/organ/scan.mha\n"


def test_an_output_that_is_no_mount_is_used_too(handed_over, volumes):
    model, job, _ = handed_over
    name = volumes("container")
    mounts = ("-v", f"{job}:/input:ro", "-v", f"{model}:/opt/ml/model:ro")
    try:
        done = docker("run", "--name", name, *_PLATFORM, *mounts, "nnbox")
        assert done.code == 0, done
        listed = docker("diff", name).out.splitlines()
        assert "A /output/images/organ/scan.mha" in listed
    finally:
        docker("rm", "--force", name)


def test_inside_a_container_without_rights_it_is_said_what_was_not_imposed(trained, volumes):
    volume, _ = trained
    handed = volumes("plain")
    shell("chmod 1777 /handed", "-v", f"{handed}:/handed")
    options = ("--network", "none", "-v", f"{volume}:/input:ro", "-v", f"{handed}:/handed")
    said = nnbox(*_HANDOVER, options=options, timeout=600).out
    assert "none (there is none here)" in said
    assert "not /opt/ml/model" in said
    assert "takes it" in said


def test_folders_without_a_list_of_inputs_are_taken_as_an_older_platform_gave_them(handed_over, volumes):
    model, job, _ = handed_over
    given, output = volumes("given"), volumes("output")
    shell("mkdir -p /to/images && cp -r /job/images/mr /to/images/mr-image", "-v", f"{job}:/job", "-v", f"{given}:/to")
    mounts = ("-v", f"{given}:/input:ro", "-v", f"{output}:/output", "-v", f"{model}:/opt/ml/model:ro")
    done = nnbox(options=("--network", "none", *mounts))
    assert done.err == ""
    assert shell("find /output -mindepth 1 ! -type d", "-v", f"{output}:/output") == "/output/images/organ/scan.mha\n"


def test_a_model_without_slugs_is_refused_as_an_algorithm(trained, handed_over, volumes):
    volume, _ = trained
    mounts = ("-v", f"{handed_over[1]}:/input:ro", "-v", f"{volume}:/volume:ro", "-v", f"{volumes('written')}:/output")
    done = nnbox("predict", "--model", "/volume/nnbox/model", options=mounts, check=False)
    assert done.code == 2
    assert "handover" in done.err
