"""The house: no import circle, no long chain, no deep class; what stands in the page is so."""

import ast
import functools
import pathlib

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src" / "torusimaging"
LONGEST, LOOSE, STOREYS = 12, 9, 2


def name_of(path: pathlib.Path, root: pathlib.Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def imports(tree: ast.AST, name: str, package: bool) -> list[tuple[str, str]]:
    """(module, name) of every relative import; those for type checkers alone are left out."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in skipped:
            parts = name.split(".") if name else []
            parts = parts if package else parts[:-1]
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, *(node.module.split(".") if node.module else [])])
            found += [(base, alias.name) for alias in node.names]
    return found


def graph_of(root: pathlib.Path) -> dict[str, set[str]]:
    """The files that each file imports, those within functions included.

    What a package hands on counts as an import of the file that defines it.
    """
    files = {name_of(p, root): p for p in root.rglob("*.py")}
    packages = {n for n, p in files.items() if p.name == "__init__.py"}
    raw = {}
    for name, path in files.items():
        paths = [p for p in (path, path.with_suffix(".pyi")) if p.exists()]
        trees = [ast.parse(p.read_text()) for p in paths]
        raw[name] = [x for tree in trees for x in imports(tree, name, name in packages)]

    def defined(base: str, what: str, seen: tuple = ()) -> str:
        full = f"{base}.{what}" if base else what
        if full in files:
            return full
        if base in packages and base not in seen:
            for other, name in raw[base]:
                if name == what:
                    return defined(other, name, (*seen, base))
        return base

    def whole(name: str, seen: tuple = ()) -> set[str]:
        if name not in packages or name in seen:
            return {name}
        handed = {defined(*x) for x in raw[name]}
        return set().union(*(whole(x, (*seen, name)) for x in handed))

    graph = {}
    for name in files.keys() - packages:
        targets = set().union(*(whole(defined(*x)) for x in raw[name]), set())
        graph[name] = (targets & files.keys()) - packages - {name}
    return graph


def longest_chain(graph: dict[str, set[str]]) -> list[str]:
    """The longest chain of imports; a ``ValueError`` names a circle."""
    under_way: list[str] = []

    @functools.cache
    def of(name: str) -> tuple[str, ...]:
        if name in under_way:
            raise ValueError(f"a circle: {' > '.join([*under_way, name])}")
        under_way.append(name)
        below = max((of(other) for other in sorted(graph[name])), key=len, default=())
        under_way.pop()
        return (name, *below)

    return list(max((of(name) for name in sorted(graph)), key=len))


def storeys(root: pathlib.Path) -> dict[str, int]:
    """How many classes of the package stand on one another, by the uppermost."""
    bases = {
        node.name: [ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in node.bases]
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }

    def depth(name: str) -> int:
        return 1 + max((depth(b) for b in bases[name] if b in bases and b != name), default=0)

    return {name: depth(name) for name in bases}


def test_no_circle_and_no_long_chain():
    chain = longest_chain(graph_of(SOURCE))
    assert len(chain) <= LONGEST, " > ".join(chain)


def test_few_loose_modules():
    loose = [p.name for p in SOURCE.glob("*.py") if p.name != "__init__.py"]
    assert len(loose) <= LOOSE, loose


def test_no_deep_class():
    deep = {name: n for name, n in storeys(SOURCE).items() if n > STOREYS}
    assert not deep


def test_the_count_counts(tmp_path):
    """A circle through a function, a chain through what a package hands on, a deep class."""
    for name, text in {
        "__init__.py": "",
        "a.py": "def f():\n    from .b import g",
        "b.py": "from .pack import h\ng = 1",
        "pack/__init__.py": "",
        "pack/__init__.pyi": "from .c import h",
        "pack/c.py": "h = 1",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert longest_chain(graph_of(tmp_path)) == ["a", "b", "pack.c"]
    (tmp_path / "pack" / "c.py").write_text("from ..a import f\nclass A: ...\nclass B(A): ...")
    with pytest.raises(ValueError, match="a circle: a > b > pack.c > a"):
        longest_chain(graph_of(tmp_path))
    (tmp_path / "d.py").write_text("class C(B): ...")
    assert storeys(tmp_path)["C"] == 3
