import pytest

from dgm_tf.errors import InputError
from dgm_tf.storage.files import whole_folder, write_atomically


def test_writes_the_content_and_makes_the_folders(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "file.bin", b"content")
    assert (tmp_path / "a" / "b" / "file.bin").read_bytes() == b"content"
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


def test_who_reads_the_former_file_reads_it_whole(tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"former")
    with open(path, "rb") as reader:
        write_atomically(path, b"new and longer")
        assert reader.read() == b"former"
    assert path.read_bytes() == b"new and longer"


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_write_that_fails_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    path.write_bytes(b"former")

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, no_space)
    with pytest.raises(InputError, match="cannot write .*No space left on device"):
        write_atomically(path, b"new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"former"]


def test_a_folder_takes_its_name_once_it_is_filled(tmp_path):
    path = tmp_path / "a" / "b"
    with whole_folder(path) as aside:
        (aside / "inner").mkdir()
        (aside / "inner" / "file").write_bytes(b"content")
        assert not path.exists()
    assert (path / "inner" / "file").read_bytes() == b"content"
    assert [child.name for child in path.parent.iterdir()] == ["b"]


def test_a_folder_that_is_not_filled_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "a" / "b" / "c") as aside:
        (aside / "file").write_bytes(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_filled_leaves_the_folders_that_were_there(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "a" / "b" / "c"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


@pytest.mark.parametrize("content", [[], ["file"]])
def test_a_folder_that_is_there_is_not_replaced(tmp_path, content):
    for name in ("b", *content):
        (tmp_path / "b" / name if name != "b" else tmp_path / "b").mkdir()
    with pytest.raises(InputError, match="cannot write .*there already"):
        with whole_folder(tmp_path / "b"):
            pass
    assert [child.name for child in (tmp_path / "b").iterdir()] == content
    assert [child.name for child in tmp_path.iterdir()] == ["b"]
