"""The SBOM of what is linked: `sbom.py SBOM LINKED SOURCE` prints the CycloneDX file of `cargo cyclonedx` without the packages that
only features name which are off (it lists all of the lock file's), and without the folder SOURCE in any reference. LINKED are the
lines of `cargo tree`."""

import json
import pathlib
import sys

sbom, linked, source = sys.argv[1:]
text = pathlib.Path(sbom).read_text().replace(f"path+file://{source}/", "path+file:///foretell/")
bom = json.loads(text)
kept = {tuple(line.split()[:2]) for line in pathlib.Path(linked).read_text().splitlines() if line}
kept = {(name, version.removeprefix("v")) for name, version in kept}
bom["components"] = [part for part in bom["components"] if (part["name"], part["version"]) in kept]
own = bom["metadata"]["component"]
references = {part["bom-ref"] for part in [*bom["components"], own]}
bom["dependencies"] = [
    {**entry, "dependsOn": [to for to in entry.get("dependsOn", []) if to in references]}
    for entry in bom["dependencies"]
    if entry["ref"] in references
]
missing = kept - {(part["name"], part["version"]) for part in [*bom["components"], own]}
assert not missing, f"linked, and not in the SBOM: {sorted(missing)}"
assert source not in json.dumps(bom), "a folder of this machine stands in the SBOM"
json.dump(bom, sys.stdout, indent=1)
