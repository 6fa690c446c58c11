// Runs a Python script under Pyodide: node pyodide.mjs PYODIDE REPOSITORY SITE_PACKAGES SCRIPT
// Of the installed packages only the Python files of msgpack and wrapt are of use there.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [pyodide, repository, site, script] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`));
const python = await loadPyodide();
const mount = (from, to) => {
  python.FS.mkdirTree(to);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: from }, to);
};
mount(`${repository}/memocache`, "/packages/memocache");
for (const name of ["msgpack", "wrapt"]) mount(`${site}/${name}`, `/packages/${name}`);
python.runPython("import sys; sys.dont_write_bytecode = True; sys.path.insert(0, '/packages')");
await python.runPythonAsync(readFileSync(script, "utf8"));
process.exit(0); // what still waits for a timer waits in vain
