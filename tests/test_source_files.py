"""Servers that a file names, and the files of secrets."""

import os
import socket

import pytest

from lbtwist.registry import Context
from lbtwist.server import Member
from lbtwist.sources.files import MOST, MOST_SECRET, NoFile, ServerFile, contents, secret


@pytest.fixture
def file(tmp_path):
    """A file, and a source that reads it."""
    path = tmp_path / "servers"
    path.write_text("10.0.0.1:80\n")
    return path


@pytest.fixture
def source(file):
    return ServerFile(ServerFile.Options(str(file)), Context())


def test_read(source):
    assert source.discover().members == (Member("10.0.0.1", 80),)


def test_replaced(source, file, tmp_path):
    """By another file, and with the times of the one before."""
    source.discover()
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    other = tmp_path / "other"
    other.write_text("10.0.0.2:80\n")
    os.utime(other, ns=times)
    other.rename(file)
    assert source.discover().members == (Member("10.0.0.2", 80),)
    file.write_text("10.0.0.3:80\n")
    os.utime(file, ns=times)
    assert source.discover().members == (Member("10.0.0.3", 80),)


def test_asBefore(source):
    """It is not made anew of a text that is the same."""
    assert source.discover() is source.discover()


def test_aLink(source, file, tmp_path):
    """As Kubernetes has it: one that leads elsewhere from one moment to the next."""
    other = tmp_path / "other"
    other.write_text("10.0.0.2:80\n")
    file.unlink()
    file.symlink_to(other)
    assert source.discover().members == (Member("10.0.0.2", 80),)


def test_cutOff(source, file):
    """Half of a port is a port: it is not believed."""
    file.write_text("10.0.0.1:8001\n10.0.0.2:80")
    with pytest.raises(NoFile, match="does not end with a line end, it may not be whole"):
        source.discover()
    file.write_text("10.0.0.1:8001\n10.0.0.2:8002\n")
    assert len(source.discover().members) == 2


def test_JSONNeedsNoLineEnd(source, file):
    """It says itself where it ends."""
    file.write_text('[{"address": "10.0.0.1:80"}]')
    assert len(source.discover().members) == 1
    file.write_text('[{"address": "10.0.0.1:80"}')
    with pytest.raises(NoFile, match="it is not JSON"):
        source.discover()


def test_empty(source, file):
    """That is for others to judge."""
    file.write_text("")
    assert source.discover().members == ()


def test_itSaysWhichFile(source, file):
    file.write_text("10.0.0.1\n")
    with pytest.raises(NoFile) as raised:
        source.discover()
    assert str(raised.value).startswith(f"{file}: line 1: '10.0.0.1' has no port")


def test_notThere(source, file):
    file.unlink()
    with pytest.raises(NoFile, match="No such file or directory"):
        source.discover()
    file.mkdir()
    with pytest.raises(NoFile, match=r"Is a directory|is not an ordinary file"):
        source.discover()


def test_whatIsNoFile(source, file):
    """Nothing that would keep the whole process waiting."""
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(NoFile, match="is not an ordinary file"):
        source.discover()
    file.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file))
        with pytest.raises(NoFile, match="No such device or address"):
            source.discover()


def test_tooLong(file):
    file.write_text("#" * (MOST - 1) + "\n")
    assert len(contents(str(file), MOST)) == MOST
    file.write_text("#" * MOST + "\n")
    with pytest.raises(NoFile, match="is longer than 1024 KiB"):
        contents(str(file), MOST)


def test_notUTF8(source, file):
    file.write_bytes(b"10.0.0.1:80 # \xe4\n")
    with pytest.raises(NoFile, match="byte 0xe4 is not UTF-8"):
        source.discover()


@pytest.mark.parametrize("text", ["s3cret", "s3cret\n", " s3cret \r\nmore\n"])
def test_secret(file, text):
    file.write_text(text)
    assert secret(str(file)) == "s3cret"


@pytest.mark.parametrize("text", ["", "\n", "\ns3cret\n", "a\0b\n", "a\x1bb\n", "\xe4\n"])
def test_noSecret(file, text):
    """What is in the file is not told."""
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NoFile) as raised:
        secret(str(file))
    assert str(raised.value) == f"{file}: its first line is no secret: it is empty, or not ASCII"


def test_aSecretIsShort(file):
    file.write_text("s" * (MOST_SECRET + 1))
    with pytest.raises(NoFile, match="longer than 4 KiB"):
        secret(str(file))
