"""Makes `src/vrec_client/generated` from the service's OpenAPI document.

Usage: python generate.py [OPENAPI.json]; without a file, from the vrec that is installed.
"""

import ast
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent / "src" / "vrec_client" / "generated"
JSON = {"application/json", "application/problem+json", "text/plain"}


def main(arguments: list[str]) -> None:
    """Generate the package."""
    document = json.loads(Path(arguments[0]).read_text()) if arguments else own_document()
    generate(document, PACKAGE)
    print(f"{PACKAGE}: {len(operations(PACKAGE))} operations")


def own_document() -> dict[str, Any]:
    """Return the OpenAPI document of the installed vrec."""
    from vrec.config.serve import ServeConfig
    from vrec.serving.http.app import create_app
    from vrec.serving.http.keys import create_key

    config = ServeConfig(data="unused")
    # With a key, so that the document says where keys go and what is answered without one.
    environment = {config.security.keys_variable: create_key("client:read")[1]}
    # Routes use their backend only when they are called.
    return create_app(None, config, environment=environment).openapi()  # pyright: ignore[reportArgumentType]


def generate(document: dict[str, Any], package: Path) -> None:
    """Replace a package by the one for an OpenAPI document."""
    shutil.rmtree(package, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        source, config = Path(folder) / "openapi.json", Path(folder) / "config.yml"
        source.write_text(json.dumps(document))
        # Whatever is not JSON is a file to the client.
        overrides = dict.fromkeys(media_types(document) - JSON, "application/octet-stream")
        config.write_text(json.dumps({"content_type_overrides": overrides, "post_hooks": []}))
        command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(source)]
        options = ["--config", str(config), "--meta", "none", "--output-path", str(package)]
        subprocess.run([*command, *options, "--fail-on-warning"], check=True, stdout=subprocess.DEVNULL)
    (package / "methods.py").write_text(methods(package))


def media_types(document: Any) -> set[str]:
    """Return the media types of all bodies but forms."""
    if isinstance(document, list):
        return set().union(*map(media_types, document))
    if not isinstance(document, dict):
        return set()
    own = {kind for kind in document.get("content", ()) if not kind.startswith("multipart/")}
    return own.union(*map(media_types, document.values()))


def operations(package: Path) -> list[Path]:
    """Return the generated modules with an operation each."""
    return [file for file in sorted((package / "api").rglob("*.py")) if file.name != "__init__.py"]


def methods(package: Path) -> str:
    """Return the source of two classes with a method for each operation, blocking and asynchronous."""
    imports = {
        "from typing import Any",
        "from vrec_client.generated.client import AuthenticatedClient",
    }
    bodies: dict[str, list[str]] = {"sync_detailed": [], "asyncio_detailed": []}
    for file in operations(package):
        name, tag = file.stem, file.parent.name
        imports.add(f"from vrec_client.generated.api.{tag} import {name} as _{name}")
        tree = ast.parse(file.read_text())
        imports |= {_absolute(node) for node in tree.body if isinstance(node, ast.ImportFrom) and node.level}
        imports |= {ast.unparse(node) for node in tree.body if isinstance(node, ast.Import)}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in bodies:
                bodies[node.name].append(_method(node, name))
    classes = [
        ("Methods", "Every operation of the service.", bodies["sync_detailed"]),
        ("AsyncMethods", "Every operation of the service, for asyncio.", bodies["asyncio_detailed"]),
    ]
    text = ['"""A method for each operation of the service."""', "", *sorted(imports)]
    text += ["from vrec_client import errors as _errors"]
    for name, description, members in classes:
        text += ["", "", f"class {name}:", f'    """{description}"""', ""]
        text += ["    _client: AuthenticatedClient", "", "\n\n".join(members)]
    return "\n".join(text) + "\n"


def _absolute(node: ast.ImportFrom) -> str:
    names = ", ".join(alias.name for alias in node.names)
    return f"from vrec_client.generated{'.' if node.module else ''}{node.module or ''} import {names}"


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
    given = [argument.arg for argument in node.args.args]
    named = [argument.arg for argument in node.args.kwonlyargs if argument.arg != "client"]
    passed = ", ".join([*given, "client=self._client", *(f"{one}={one}" for one in named)])
    call = f"_{name}.{node.name}({passed})"
    text = ast.get_docstring(node) or ""
    # The generated text has the operation's name first, and at its end facts about the call below.
    description = text.partition("\n\n")[2].partition("\n\nRaises:")[0].strip()
    node.args.args.insert(0, ast.arg("self"))
    places = [place for place, argument in enumerate(node.args.kwonlyargs) if argument.arg != "client"]
    node.args.kw_defaults = [node.args.kw_defaults[place] for place in places]
    node.args.kwonlyargs = [node.args.kwonlyargs[place] for place in places]
    returns = _without_problem(node.returns)
    asynchronous = isinstance(node, ast.AsyncFunctionDef)
    indented = "\n        ".join(description.splitlines()).replace("\n        \n", "\n\n")
    head = f"    {'async ' if asynchronous else ''}def {name}({ast.unparse(node.args)}) -> {returns}:"
    answer = f"_errors.result({'await ' if asynchronous else ''}{call})"
    return f'{head}\n        """{indented}"""\n        return {answer}'


def _without_problem(returns: ast.expr | None) -> str:
    # The types in Response[...], without the one that is raised as an error.
    assert isinstance(returns, ast.Subscript)
    kinds = [kind.strip() for kind in ast.unparse(returns.slice).split("|")]
    return " | ".join(kind for kind in kinds if kind != "ProblemDocument")


if __name__ == "__main__":
    main(sys.argv[1:])
