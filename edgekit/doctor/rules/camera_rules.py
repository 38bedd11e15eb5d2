"""Rules about cameras, and who may open them."""

from __future__ import annotations

from edgekit.doctor.rules.base import ANY, BOARDS, Rule, always

CAMERA_RULES = (
    Rule(
        "camera forbidden", "cameras", ANY, lambda f: f.forbidden_camera is not None, "fail",
        "{f.user} may not open {f.forbidden_camera.path} ({f.forbidden_camera.name}): permission"
        " denied",
        "sudo usermod -aG video {f.user}   # then log out and in again",
    ),
    Rule(
        "camera fails", "cameras", ANY, lambda f: f.failing_camera is not None, "fail",
        "{f.failing_camera.path} ({f.failing_camera.name}) does not work:"
        " {f.failing_camera.trouble}",
        "fuser -v {f.failing_camera.path}   # which program holds it? else another port or cable",
    ),
    Rule(
        "camera not tried", "cameras", ANY, lambda f: f.untried_camera is not None, "warn",
        "{f.untried_camera.path} ({f.untried_camera.name}) was not tried: OpenCV does not work",
        "fix OpenCV, then edgekit doctor",
    ),
    Rule(
        "no camera", "cameras", ANY,
        lambda f: not f.usable_cameras and not f.ribbon_cameras,
        "warn",
        "no /dev/video* gives frames",
        "plug a camera in, then edgekit cameras; or name a stream: edgekit run --source URL",
    ),
    Rule("cameras", "cameras", ANY, always, "ok", "{f.camera_names}"),
    Rule(
        "group video", "group video", BOARDS, lambda f: f.lacks_group("video"), "warn",
        "{f.user} is not in the group that may open cameras",
        "sudo usermod -aG video {f.user}   # then log out and in again",
    ),
    Rule(
        "in group video", "group video", BOARDS,
        lambda f: bool(f.user) and "video" in f.known_groups,
        "ok",
        "{f.user} may open cameras",
    ),
    Rule(
        "group render", "group render", BOARDS, lambda f: f.lacks_group("render"), "warn",
        "{f.user} is not in the group that may use the GPU",
        "sudo usermod -aG render {f.user}   # then log out and in again",
    ),
    Rule(
        "in group render", "group render", BOARDS,
        lambda f: bool(f.user) and "render" in f.known_groups,
        "ok",
        "{f.user} may use the GPU",
    ),
)  # fmt: skip
