import platform
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    *("config", "core", "accounts", "builder", "files", "library"),
    *("graphs", "executions", "credits", "integrations", "notifications", "tests"),
]


def test_the_word_platform_means_the_standard_library():
    assert platform.__file__ is not None
    assert Path(platform.__file__).parent == Path(sysconfig.get_path("stdlib"))


def test_the_folder_platform_is_a_source_root_and_never_a_package():
    assert not (ROOT / "platform" / "__init__.py").exists()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_of_ours_is_loaded_from_this_repository(name):
    import_module(name)
    origin = sys.modules[name].__file__
    assert origin is not None
    assert Path(origin).is_relative_to(ROOT)
