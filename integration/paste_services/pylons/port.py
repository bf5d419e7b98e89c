"""Takes the Pylons 1.0.3 of this virtualenv to Python 3, as little as its own project template needs.

Pylons was never more than Python 2's (`except HTTPException, httpe` in pylons/controllers/core.py is a SyntaxError to
any Python 3), and neither was WebHelpers (`from UserDict import DictMixin`). 2to3's fixers, which live on as fissix, do
most of it; the rest is the list below. WebError, an offspring of Paste's own error pages, has Paste's put back in its
place, which were taken to Python 3 by Paste itself. The ini files that Pylons makes stay as they are.

Run once, behind `pip install`.
"""

import pathlib
import subprocess
import sys
import sysconfig

SITE = pathlib.Path(sysconfig.get_path("purelib"))
TEMPLATE = "pylons/templates/default_project/+package+"

EDITS = [
    # Bytes and texts are two things now.
    ("pylons/controllers/core.py", 'if isinstance(response, str):\n                if log_debug:\n                    log.debug("Controller returned a string',
     'if isinstance(response, bytes):\n                if log_debug:\n                    log.debug("Controller returned a string'),
    ("pylons/controllers/util.py", "location=url.encode('utf-8')", "location=url"),
    ("pylons/util.py", "resource_string(module, self.config_file),\n                    vars, filename=self.config_file)",
     "resource_string(module, self.config_file).decode(),\n                    vars, filename=self.config_file).encode()"),
    ("paste/script/copydir.py", "            content = content.encode()\n        else:", "        else:"),
    (TEMPLATE + "/controllers/error.py_tmpl", "resp.body", "resp.text"),
    # Gone from the standard library.
    ("pylons/controllers/core.py", "inspect.getargspec(", "inspect.getfullargspec("),
    ("pylons/controllers/core.py", "'im_func'", "'__func__'"),
    (TEMPLATE + "/controllers/error.py_tmpl", "cgi", "html"),
    ("webhelpers/html/builder.py", "from UserDict import DictMixin\n", ""),
]

WEBERROR = {
    "errormiddleware.py": "from paste.exceptions.errormiddleware import *\n",
    "evalexception.py": '''from paste.evalexception import middleware


class EvalException(middleware.EvalException):
    def __init__(self, application, global_conf=None, **_):
        super().__init__(application, global_conf)
''',
}

subprocess.run([sys.executable, "-W", "ignore", "-m", "fissix", "-w", "-n", "--no-diffs", SITE / "pylons", SITE / "webhelpers"],
               check=True, capture_output=True)
for name, old, new in EDITS:
    text = (SITE / name).read_text()
    assert old in text, (name, old)
    (SITE / name).write_text(text.replace(old, new))
for name, text in WEBERROR.items():
    (SITE / "weberror" / name).write_text(text)
