"""The method runs where neither orchestrator nor gates nor store are installed."""

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys
for name in ("prefect", "great_expectations", "boto3", "botocore"):
    sys.modules[name] = None  # importing it now fails, as if it were not installed
import matrix_core
for module in pkgutil.walk_packages(matrix_core.__path__, "matrix_core."):
    importlib.import_module(module.name)
from matrix_core import simulation, waves
from matrix_core.engines.local import LocalEngine
from matrix_core.models import resolve
from matrix_core.pocket import sets
from matrix_core.scene import Scene, Settings
from matrix_core.steps import STEPS
settings = Settings(style="pocket", temperature=0.0)
scenes = [Scene(instruction=i) for i in sets.instructions("train", 3)]
engine = LocalEngine(resolve("pocket"))
while due := simulation.next_wave(scenes, settings):
    played = waves.run(STEPS[due[0].step], [scenes[i] for i in due[1]], settings, engine)
    moved = {scene.id: scene for scene in played.scenes}
    scenes = [moved.get(scene.id, scene) for scene in scenes]
print(sum(scene.refined is not None for scene in scenes))
"""


def test_scenes_are_played_without_prefect_great_expectations_and_boto3():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "3", done.stderr[-2000:]
