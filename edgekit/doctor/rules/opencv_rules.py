"""Rules about OpenCV, GStreamer and picamera2."""

from __future__ import annotations

from edgekit.doctor.records import Facts
from edgekit.doctor.rules.base import ANY, BOARDS, JETSON, OTHER, PI, Rule, always


def _numpy_breaks_picamera2(f: Facts) -> bool:
    """Its compiled parts (simplejpeg) fit the numpy of the system alone."""
    return f.picamera2.broken and "numpy" in str(f.picamera2.error)


OPENCV_RULES = (
    Rule(
        "OpenCV hidden", "OpenCV", BOARDS,
        lambda f: f.opencv.missing and "cv2" in f.hidden,
        "fail",
        "installed on the system, but this virtual environment does not see it",
        "{f.remake_environment}",
    ),
    Rule(
        "OpenCV missing", "OpenCV", BOARDS, lambda f: f.opencv.missing, "fail",
        "not installed: cameras and videos need it",
        "sudo apt install -y python3-opencv",
    ),
    Rule(
        "OpenCV missing on a workstation", "OpenCV", OTHER, lambda f: f.opencv.missing, "fail",
        "not installed: cameras and videos need it",
        "{f.pip} install opencv-python-headless",
    ),
    Rule(
        "OpenCV without numpy", "OpenCV", ANY,
        lambda f: f.opencv.broken and not f.numpy.works,
        "fail",
        "cannot be imported without a numpy that works",
        "fix numpy, then edgekit doctor",
    ),
    Rule(
        "OpenCV against numpy 2", "OpenCV", ANY,
        lambda f: f.opencv.fault == "numpy",
        "fail",
        "built for another numpy than {f.numpy.version} ({f.numpy.file}): {f.opencv.error}",
        "{f.pip} install 'numpy<2'   # or, built for both: {f.pip} install opencv-python-headless",
    ),
    Rule(
        "two OpenCVs, broken", "OpenCV", ANY,
        lambda f: f.opencv.broken and len(f.python.opencv_from_pip) > 1,
        "fail",
        "{f.opencv_pip_list} overwrite each other's files: {f.opencv.error}",
        "{f.pip} uninstall -y {f.opencv_pip_names} && {f.pip} install opencv-python-headless",
    ),
    Rule(
        "OpenCV without a library", "OpenCV", ANY,
        lambda f: f.opencv.fault == "library" and bool(f.python.opencv_from_pip),
        "fail",
        "{f.opencv_pip_list} needs a library of a desktop that is not here: {f.opencv.error}",
        "{f.pip} uninstall -y {f.opencv_pip_names} && {f.pip} install opencv-python-headless",
    ),
    Rule(
        "OpenCV of another build", "OpenCV", ANY,
        lambda f: f.opencv.fault == "other build" and bool(f.python.opencv_from_pip),
        "fail",
        "built for another Python or machine: {f.opencv.error}",
        "{f.pip} uninstall -y {f.opencv_pip_names} && {f.pip} install --no-cache-dir"
        " opencv-python-headless",
    ),
    Rule(
        "OpenCV broken on a board", "OpenCV", BOARDS, lambda f: f.opencv.broken, "fail",
        "cannot be imported: {f.opencv.error}",
        "sudo apt install --reinstall python3-opencv",
    ),
    Rule(
        "OpenCV broken", "OpenCV", OTHER, lambda f: f.opencv.broken, "fail",
        "cannot be imported: {f.opencv.error}",
        "{f.pip} install --force-reinstall opencv-python-headless",
    ),
    Rule(
        "OpenCV without video on a board", "OpenCV", BOARDS,
        lambda f: bool(f.opencv.lacks) and not f.opencv.from_pip,
        "fail",
        "{f.opencv.version} ({f.opencv.file}) was built without {f.opencv.lacks_text}: cameras and"
        " videos need it",
        "sudo apt install --reinstall python3-opencv   # or {f.pip} install opencv-python-headless",
    ),
    Rule(
        "OpenCV without video", "OpenCV", ANY, lambda f: bool(f.opencv.lacks), "fail",
        "{f.opencv.version} ({f.opencv.file}) was built without {f.opencv.lacks_text}: cameras and"
        " videos need it",
        "{f.pip} install --force-reinstall opencv-python-headless",
    ),
    Rule(
        "two OpenCVs", "OpenCV", ANY, lambda f: len(f.python.opencv_from_pip) > 1, "warn",
        "{f.opencv.version}, but {f.opencv_pip_list} overwrite each other's files, which breaks at"
        " the next upgrade",
        "{f.pip} uninstall -y {f.opencv_pip_names} && {f.pip} install opencv-python-headless",
    ),
    Rule(
        "OpenCV from pip beside picamera2", "OpenCV", PI,
        lambda f: f.opencv.from_pip and not f.picamera2.missing,
        "warn",
        "{f.opencv.version} from pip ({f.opencv.file}) hides the system's, which fits picamera2's"
        " numpy and has GStreamer",
        "{f.pip} uninstall -y {f.opencv_pip_names} && sudo apt install -y python3-opencv",
    ),
    Rule(
        "OpenCV from pip on a Jetson", "OpenCV", JETSON, lambda f: f.opencv.from_pip, "warn",
        "{f.opencv.version} from pip ({f.opencv.file}) hides JetPack's, which has GStreamer",
        "{f.pip} uninstall -y {f.opencv_pip_names} && sudo apt install python3-opencv",
    ),
    Rule("OpenCV", "OpenCV", ANY, always, "ok", "{f.opencv.version}, {f.opencv.file}"),
    Rule(
        "GStreamer missing for a camera", "GStreamer", JETSON,
        lambda f: not (f.opencv.gstreamer or f.gobject.gstreamer) and bool(f.ribbon_cameras),
        "fail",
        "neither OpenCV {f.opencv.version} nor PyGObject has it, and the ribbon-cable camera"
        " {f.ribbon_cameras[0].path} needs it",
        "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0   # or JetPack's own OpenCV",
    ),
    Rule(
        "GStreamer missing", "GStreamer", JETSON,
        lambda f: not (f.opencv.gstreamer or f.gobject.gstreamer),
        "warn",
        "neither OpenCV {f.opencv.version} nor PyGObject has it: --camera csi://0 cannot work",
        "sudo apt install python3-gi gir1.2-gst-plugins-base-1.0   # or JetPack's own OpenCV",
    ),
    Rule(
        "GStreamer without NVIDIA's elements", "GStreamer", JETSON,
        lambda f: bool(f.missing_elements),
        "warn",
        "without {f.missing_elements[0]}: --camera csi://0 cannot work",
        "sudo apt install nvidia-l4t-gstreamer",
    ),
    Rule(
        "GStreamer", "GStreamer", JETSON, lambda f: f.opencv.gstreamer, "ok",
        "in OpenCV {f.opencv.version}",
    ),
    Rule(
        "GStreamer through PyGObject", "GStreamer", JETSON, always, "ok",
        "through PyGObject {f.gobject.version}",
    ),
    Rule(
        "wrong numpy for picamera2", "picamera2", PI, _numpy_breaks_picamera2, "fail",
        "cannot be imported beside numpy {f.numpy.version} ({f.numpy.file}): it needs the"
        " system's: {f.picamera2.error}",
        "{f.pip} uninstall -y numpy   # the system's own comes back",
    ),
    Rule(
        "picamera2 broken", "picamera2", PI, lambda f: f.picamera2.broken, "fail",
        "cannot be imported: {f.picamera2.error}",
        "sudo apt install --reinstall -y python3-picamera2 python3-libcamera",
    ),
    Rule(
        "picamera2 hidden", "picamera2", PI,
        lambda f: f.picamera2.missing and "picamera2" in f.hidden,
        "warn",
        "installed on the system, but this virtual environment does not see it",
        "{f.remake_environment}",
    ),
    Rule(
        "picamera2 missing for a camera", "picamera2", PI,
        lambda f: f.picamera2.missing and bool(f.ribbon_cameras),
        "fail",
        "not installed, and the ribbon-cable camera {f.ribbon_cameras[0].path} needs it",
        "sudo apt install -y python3-picamera2",
    ),
    Rule(
        "picamera2 missing", "picamera2", PI, lambda f: f.picamera2.missing, "warn",
        "not installed: --camera csi://0 cannot work",
        "sudo apt install -y python3-picamera2",
    ),
    Rule(
        "numpy hides the system's", "picamera2", PI, lambda f: f.numpy.from_pip, "warn",
        "{f.picamera2.version} works, beside numpy {f.numpy.version} from pip, which hides the"
        " system's that it was built for",
        "{f.pip} uninstall -y numpy   # the system's own comes back",
    ),
    Rule("picamera2", "picamera2", PI, always, "ok", "{f.picamera2.version}"),
)  # fmt: skip
