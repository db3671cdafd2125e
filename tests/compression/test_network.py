"""A compressed network's folder: what was written is read, and anything else is refused."""

import json
from dataclasses import fields, replace

import pytest

from vrec.compression.network import CompressedNetworkInfo, load_network, network_info, save_network
from vrec.core.errors import ModelError

FACTS = CompressedNetworkInfo("student_static", 160, 1280, "openvino", True, "efficientnet_lite0")
OTHER = ("static", 192, 640, "onnxruntime", False, "torchvision:resnet50")


def test_what_is_saved_is_loaded(tmp_path):
    save_network(str(tmp_path), b"graph", FACTS, data={"videos": 3}, metrics={"speed": 2.5})
    assert load_network(str(tmp_path)) == (b"graph", FACTS)
    assert json.loads((tmp_path / "manifest.json").read_text())["metrics"] == {"speed": 2.5}


def test_the_digest_is_of_the_graph_and_of_every_fact_and_not_of_the_place(tmp_path):
    changed = [(b"graph", FACTS), (b"another", FACTS)]
    for field, value in zip(fields(CompressedNetworkInfo), OTHER, strict=True):
        changed.append((b"graph", replace(FACTS, **{field.name: value})))
    digests = []
    for number, (graph, facts) in enumerate(changed):
        save_network(str(tmp_path / str(number)), graph, facts)
        found, read = network_info(str(tmp_path / str(number)))
        assert read == facts
        digests.append(found)
    assert len(set(digests)) == len(changed)
    save_network(str(tmp_path / "elsewhere"), b"graph", FACTS)
    assert network_info(str(tmp_path / "elsewhere"))[0] == digests[0]


def test_a_graph_that_was_changed_on_disk_is_refused(tmp_path):
    save_network(str(tmp_path), b"graph", FACTS)
    (file,) = tmp_path.glob("*.onnx")
    file.write_bytes(b"grape")
    with pytest.raises(ModelError):
        load_network(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"runtime": "abacus"}, "unknown runtime abacus"), ({"colour": "red"}, "another version of vrec")],
)
def test_a_manifest_that_says_what_nobody_knows_is_refused(tmp_path, changes, reason):
    save_network(str(tmp_path), b"graph", FACTS)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"] |= changes
    path.write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=reason) as caught:
        load_network(str(tmp_path))
    assert "vrec compress" in caught.value.fix


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ModelError):
        load_network(str(tmp_path / "nothing"))
