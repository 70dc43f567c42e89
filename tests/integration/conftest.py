"""Fixtures of the integration tests: one bed for the run, programs in temporary folders of their own."""

import os
import shutil
import tempfile

import pytest

from bed.ca import Authority
from bed.samba_ad import SambaAD
from bed.slapd import Slapd


@pytest.fixture(scope="session")
def run_folder():
    folder = tempfile.mkdtemp(prefix="pta-test-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_folder(run_folder):
    """Gives new folders under the run's own."""
    def make(label):
        return tempfile.mkdtemp(prefix=f"{label}-", dir=run_folder)
    return make


@pytest.fixture(scope="session")
def ca(make_folder):
    return Authority(make_folder("ca"))


@pytest.fixture(scope="session")
def ad(make_folder, ca):
    """The one Active Directory of the run. A test that stops or changes it puts it right again."""
    bed = SambaAD(make_folder("samba"), ca)
    yield bed
    bed.close()


@pytest.fixture(scope="session")
def slapd(make_folder, ca):
    bed = Slapd(make_folder("slapd"), ca)
    yield bed
    bed.close()
