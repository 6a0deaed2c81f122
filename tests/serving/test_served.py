"""docs/how-to/serve.md, run word for word: real servers on the loopback, real clients.

Needs requirements-serving.txt. What cannot be run here is left out by name: making the environment,
the demo (a smaller run takes its place) and Docker.
"""

import base64
import contextlib
import functools
import io
import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mlserver")
pytest.importorskip("tensorflow_serving")

import grpc  # noqa: E402
import tensorflow as tf  # noqa: E402
from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc  # noqa: E402
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc  # noqa: E402

import dgm_tf  # noqa: E402
from dgm_tf.data import image_file
from dgm_tf.reporting import pictures  # noqa: E402
from tests.serving.tf_serving_double import served  # noqa: E402
from trainers import split_digits  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # the server's own packages warn of each other
]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
SETTINGS = {
    "batch_size": 60, "generator_size": 2, "critic_size": 4, "consolidation_steps": 2,
    "replay_buffer": 64,
}  # fmt: skip
TINY = ["--classes_per_task=5", "--epochs=1", f"--settings={json.dumps(SETTINGS)}", "--verbosity=0"]
UNTRIED = ("make demo", "pip install -r requirements.txt -r requirements-serving.txt", "docker run")


def commands(title):
    """The commands under a heading, in order, without those that cannot be run here."""
    part = PAGE.partition(f"## {title}\n")[2] if title else PAGE
    part = part.partition("\n## ")[0]
    found = "".join(re.findall(r"^```sh\n(.*?)^```$", part, re.M | re.S)).splitlines()
    return [line for line in found if not line.startswith(UNTRIED)]


def example(start):
    """The file that the page gives a title, with a text in it."""
    files = re.findall(r'^```python title="\S+"\n(.*?)^```$', PAGE, re.M | re.S)
    (found,) = [text for text in files if start in text]
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Desk:
    """A folder in which the page's commands are typed."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {port: free_port() for port in (8080, 8081, 8082)}
        bin_folder = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MLSERVER_HTTP_PORT": str(self.ports[8080]),
            "MLSERVER_GRPC_PORT": str(self.ports[8081]),
            "MLSERVER_METRICS_PORT": str(self.ports[8082]),
        }

    def text(self, text):
        """The page's text with the ports that are free here."""
        for port, free in self.ports.items():
            text = text.replace(f"localhost:{port}", f"localhost:{free}")
        return text

    def type(self, command):
        words = shlex.split(self.text(command))
        if words[0] == "curl" and not shutil.which("curl"):
            method, address = words[2:]
            return urllib.request.urlopen(urllib.request.Request(address, method=method)).read()
        if words[0] == "python":
            words[0] = sys.executable
        done = subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def server(self, command):
        with open(self.folder / "log", "w") as log:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        try:
            self.wait_until_ready(process)
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)
        assert process.returncode == 0, (self.folder / "log").read_text()

    def wait_until_ready(self, process):
        for _ in range(240):
            assert process.poll() is None, (self.folder / "log").read_text()
            with contextlib.suppress(OSError):
                self.ask("models/memory/ready")
                return
            time.sleep(0.5)
        raise AssertionError((self.folder / "log").read_text())

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        post = urllib.request.Request(
            f"http://localhost:{self.ports[8080]}/v2/{path}", data,
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(post, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")

    def infer(self, *inputs, **parameters):
        return self.ask("models/memory/infer", {"inputs": inputs, "parameters": parameters})

    def images(self, labels, first=0):
        """The export that drew them, and the images."""
        answer = self.infer(*asked(labels, first))
        output = answer["outputs"][0]
        images = np.array(output["data"], np.float32).reshape(output["shape"])
        return answer["parameters"]["export"], images


def tensor(name, datatype, data, shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def asked(labels, first=0):
    """Tensors for images of labels, of key 1."""
    rows = [first + row for row in range(len(labels))]
    return [
        tensor("labels", "INT32", labels),
        tensor("keys", "INT64", [1] * len(labels)),
        tensor("rows", "INT64", rows),
    ]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """After the commands that come before the servers, with MLServer's two files written."""
    made = Desk(tmp_path_factory.mktemp("desk"))
    assert split_digits.main([*TINY, f"--run_dir={made.folder}/runs/demo"]) == 0
    for command in commands("")[:3]:
        made.shown = made.type(command)
    for path, content in re.findall(r"`(served/[\w.-]+)`\n\n```json\n(.*?)```", PAGE, re.S):
        (made.folder / path).write_text(content)
    return made


def test_every_command_is_tried_but_those_that_cannot_be(desk):
    tried = [*commands("")[:3], *commands("MLServer")]
    assert [line.split()[0] for line in tried] == [
        "python", "python", "saved_model_cli", "mlserver", "python", "curl",
    ]  # fmt: skip
    assert commands("TensorFlow Serving") == commands("Phones") == []
    assert "signature_def['classify_uint8']" in desk.shown
    with Image.open(desk.folder / "grid.png") as grid:
        assert grid.height == 2 * (16 * 2 + 2) + 2
    assert sorted(path.name for path in (desk.folder / "served").iterdir()) == [
        "memory", "model-settings.json", "settings.json",
    ]  # fmt: skip


def test_the_example_for_a_desk_runs(desk, monkeypatch, capsys):
    monkeypatch.chdir(desk.folder)
    names = {}
    exec(example("load_exported"), names)
    assert names["images"].shape == (3, 16, 16, 1)
    assert capsys.readouterr().out.endswith("{1: True, 2: True}\n")


@pytest.fixture(scope="module")
def server(desk):
    """MLServer as the page starts it; stopped at the end, and by then it must still be well."""
    with desk.server(commands("MLServer")[0]) as process:
        yield process
        assert process.poll() is None, (desk.folder / "log").read_text()


@pytest.fixture(scope="module")
def expected(desk):
    """The images of classes 3 and 7, generated in this process."""
    memory = tf.saved_model.load(str(desk.folder / "served" / "memory" / "1"))
    images = memory.signatures["generate"](
        labels=tf.constant([3, 7]),
        keys=tf.constant([1, 1], tf.int64),
        rows=tf.constant([0, 1], tf.int64),
    )["images"].numpy()
    assert np.any(images[0] != images[1])
    return images


@pytest.fixture
def grpc_infer(desk, server):
    """Asks over gRPC for images of labels, raw bytes; gives them."""
    with grpc.insecure_channel(f"localhost:{desk.ports[8081]}") as channel:
        service = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        infer_input = dataplane_pb2.ModelInferRequest.InferInputTensor

        def infer(labels, datatype="INT32"):
            request = dataplane_pb2.ModelInferRequest(
                model_name="memory",
                inputs=[
                    infer_input(name="labels", datatype=datatype, shape=labels.shape),
                    infer_input(name="keys", datatype="INT64", shape=labels.shape),
                    infer_input(name="rows", datatype="INT64", shape=labels.shape),
                ],
                raw_input_contents=[
                    labels.tobytes(),
                    np.ones(len(labels), np.int64).tobytes(),
                    np.arange(len(labels), dtype=np.int64).tobytes(),
                ],
            )
            answer = service.ModelInfer(request, timeout=60)
            raw = np.frombuffer(answer.raw_output_contents[0], np.float32)
            return raw.reshape(answer.outputs[0].shape)

        yield infer


def test_mlserver_generates_the_images_of_this_process(
    desk, server, expected, grpc_infer, monkeypatch
):
    monkeypatch.chdir(desk.folder)
    exec(desk.text(example("urllib")), {})
    for number, image in enumerate(expected):
        with Image.open(desk.folder / f"image-{number}.png") as png:
            np.testing.assert_array_equal(np.asarray(png)[..., None], pictures.to_uint8(image))
    np.testing.assert_array_equal(desk.images([3, 7])[1], expected)
    np.testing.assert_array_equal(grpc_infer(np.int32([3, 7])), expected)


def classified(desk):
    """The server's answer to a black image: outputs by name."""
    pixels = tensor("images", "UINT8", [0] * 64, [1, 8, 8, 1])
    answer = desk.infer(pixels, signature="classify_uint8")
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_mlserver_classifies(desk, server):
    memory = dgm_tf.load_exported(desk.folder / "served" / "memory" / "1")
    found = classified(desk)
    assert found["label"] == memory.classify(np.zeros([1, 8, 8, 1], np.uint8)).tolist()
    assert found["class_name"] == [str(label) for label in found["label"]]
    assert abs(sum(found["probabilities"]) - 1) < 1e-5


def test_mlserver_says_what_is_wrong_and_lives_on(desk, server, expected):
    refused(desk, asked([3])[:1], "expected inputs keys, labels, rows, received labels")
    refused(desk, asked([3])[:2] + asked([3, 3])[2:], "expected as many rows of each input")
    refused(desk, asked([3]), "expected a signature out of classify,", signature="paint")
    np.testing.assert_array_equal(desk.images([3])[1], expected[:1])
    assert classified(desk)["label"]


def refused(desk, inputs, message, **parameters):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        desk.infer(*inputs, **parameters)
    with refusal.value as answer:
        assert answer.code == 400 and message in json.load(answer)["error"]


def test_texts_and_files_come_over_grpc_in_either_form(desk, server):
    """As raw bytes, and as contents, which other clients send."""
    memory = dgm_tf.load_exported(desk.folder / "served" / "memory" / "1")
    picture = io.BytesIO()
    Image.fromarray(np.arange(24 * 72, dtype=np.uint8).reshape(24, 72)).save(picture, "PNG")
    contents = [picture.getvalue(), b"junk"]
    infer_input = dataplane_pb2.ModelInferRequest.InferInputTensor
    forms = {
        "raw": (
            [infer_input(name="images", datatype="BYTES", shape=[2])],
            [b"".join(struct.pack("<I", len(each)) + each for each in contents)],
        ),
        "contents": (
            [
                infer_input(
                    name="images", datatype="BYTES", shape=[2],
                    contents=dataplane_pb2.InferTensorContents(bytes_contents=contents),
                )
            ],
            [],
        ),
    }  # fmt: skip
    (label,) = memory.classify(image_file.read_image(io.BytesIO(contents[0]), 16)[..., :1])
    name = memory.class_names[memory.classes_seen.index(label)].encode()
    with grpc.insecure_channel(f"localhost:{desk.ports[8081]}") as channel:
        service = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        for form, (inputs, raw) in forms.items():
            request = dataplane_pb2.ModelInferRequest(
                model_name="memory", inputs=inputs, raw_input_contents=raw
            )
            request.parameters["signature"].string_param = "classify_uint8"
            answer = service.ModelInfer(request, timeout=60)
            by_name = {output.name: place for place, output in enumerate(answer.outputs)}
            place = by_name["class_name"]
            if form == "raw":
                packed = answer.raw_output_contents[place]
                assert packed == struct.pack("<I", len(name)) + name + struct.pack("<I", 0)
            else:
                assert list(answer.outputs[place].contents.bytes_contents) == [name, b""]
                found = answer.outputs[by_name["label"]].contents.int_contents
                assert list(found) == [label, -1]


def test_mlserver_says_what_is_wrong_over_grpc(grpc_infer, expected):
    with pytest.raises(grpc.RpcError) as refusal:
        grpc_infer(np.int64([3]), "INT64")
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "labels as int32 (None,), received int64 [1]" in refusal.value.details()
    np.testing.assert_array_equal(grpc_infer(np.int32([3, 7])), expected)


def together(*calls):
    """What concurrent clients are answered; a call that fails gives its error."""
    found = [None] * len(calls)

    def ask(number):
        try:
            found[number] = calls[number]()
        except urllib.error.HTTPError as error:
            found[number] = error

    asking = [threading.Thread(target=ask, args=[number]) for number in range(len(calls))]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(timeout=60)
    return found


def test_concurrent_clients_of_all_kinds_are_answered_as_each_alone(desk, server, expected):
    def generate(**changed):
        return desk.infer(*asked([3, 77, 7]), **changed)

    def valid_only():
        return desk.ask(
            "models/memory/infer", {"inputs": asked([7]), "outputs": [{"name": "valid"}]}
        )

    calls = [
        generate,
        functools.partial(generate, signature="generate_png"),
        functools.partial(desk.infer, *asked([])),
        lambda: classified(desk),
        valid_only,
        functools.partial(desk.infer, *asked([3])[:2]),
        generate,
    ]
    alone = [together(call)[0] for call in calls]
    assert alone[5].code == 400 and [output["shape"] for output in alone[0]["outputs"]] == [
        [3, 16, 16, 1], [3],
    ]  # fmt: skip
    assert alone[0]["outputs"][1]["data"] == [True, False, True]
    assert [output["name"] for output in alone[4]["outputs"]] == ["valid"]
    assert [output["shape"][0] for output in alone[2]["outputs"]] == [0, 0]
    for _ in range(5):
        for one, several in zip(alone, together(*calls), strict=True):
            if isinstance(one, urllib.error.HTTPError):
                assert several.code == one.code
            else:
                assert _without_id(several) == _without_id(one)


def _without_id(answer):
    return {name: value for name, value in answer.items() if name != "id"}


def test_mlserver_says_what_the_model_takes_and_gives(desk, server):
    found = desk.ask("models/memory")
    assert found["inputs"] == [
        {"name": "keys", "datatype": "INT64", "shape": [-1]},
        {"name": "labels", "datatype": "INT32", "shape": [-1]},
        {"name": "rows", "datatype": "INT64", "shape": [-1]},
    ]
    assert {output["name"] for output in found["outputs"]} == {"images", "valid"}


def test_mlserver_reads_picture_files(desk, server):
    memory = dgm_tf.load_exported(desk.folder / "served" / "memory" / "1")
    path = desk.folder / "wide.png"
    Image.fromarray(np.arange(24 * 72, dtype=np.uint8).reshape(24, 72)).save(path)
    contents = [base64.b64encode(path.read_bytes()).decode(), base64.b64encode(b"junk").decode()]
    answer = desk.infer(tensor("images", "BYTES", contents), signature="classify_uint8")
    found = {output["name"]: output["data"] for output in answer["outputs"]}
    pixels = image_file.read_image(path, 16)[..., :1]
    assert found["label"] == [memory.classify(pixels)[0], -1]
    assert found["valid"] == [True, False] and found["class_name"][1] == ""
    probabilities = np.array(found["probabilities"], float).reshape(2, -1)
    np.testing.assert_allclose(probabilities[0], memory.predict(pixels)[0], atol=1e-6)


def test_mlserver_takes_a_new_version_while_requests_run(desk, server, expected):
    """The last of those that ask the server: it goes on with version 2."""
    _, export, swap = commands("MLServer")
    assert desk.images([3])[0] == "1"
    for versions in answered_during(desk, expected, lambda: (desk.type(export), desk.type(swap))):
        assert set(versions) == {"1", "2"} and versions == sorted(versions)
    assert (desk.folder / "served" / "memory" / "2").is_dir()
    version, images = desk.images([3, 7])
    np.testing.assert_array_equal(images, expected)
    assert version == "2" and classified(desk)["label"]


def answered_during(desk, expected, work):
    """Versions that answered each of three clients' requests while `work` was done, and after.

    A request that fails, or is answered by other images than `expected`, raises.
    """
    clients, failed, done = [[], [], []], [], threading.Event()

    def ask(number, versions):
        label, first = [3, 7][number % 2], number % 2
        while not (done.is_set() and versions and versions[-1] == "2") and not failed:
            try:
                version, images = desk.images([label], first)
                np.testing.assert_array_equal(images, expected[first : first + 1])
                versions.append(version)
            except BaseException as error:
                failed.append(error)

    asking = [
        threading.Thread(target=ask, args=client, daemon=True) for client in enumerate(clients)
    ]
    for thread in asking:
        thread.start()
    work()
    done.set()
    for thread in asking:
        thread.join(timeout=60)
    assert not failed and not any(thread.is_alive() for thread in asking), failed
    return clients


def test_the_pages_client_speaks_tensorflow_servings_protocol(desk, expected):
    folder = desk.folder / "served" / "memory" / "1"
    memory = dgm_tf.load_exported(folder)
    with served("memory", folder) as address:
        names = {}
        exec(example("predict_pb2").replace("localhost:8500", address), names)
        np.testing.assert_array_equal(names["images"], expected)
        assert names["answer"].model_spec.version.value == 1
        with grpc.insecure_channel(address) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            request = predict_pb2.PredictRequest()
            request.CopyFrom(names["request"])
            request.model_spec.signature_name = "generate_png"
            (png, _) = tf.make_ndarray(service.Predict(request).outputs["png_bytes"])
            with Image.open(io.BytesIO(png)) as image:
                assert image.size == memory.image_shape[:2]
            request.inputs["labels"].CopyFrom(tf.make_tensor_proto([77, 3], tf.int32))
            found = service.Predict(request).outputs
            assert tf.make_ndarray(found["valid"]).tolist() == [False, True]
            assert tf.make_ndarray(found["png_bytes"])[0] == b""
            request.inputs["labels"].CopyFrom(tf.make_tensor_proto([3], tf.int32))
            with pytest.raises(grpc.RpcError, match="as many rows of labels, keys, rows"):
                service.Predict(request)
            assert service.Predict(names["request"]).outputs["images"].tensor_shape.dim[0].size == 2
