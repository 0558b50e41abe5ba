"""How much a molecule prefers octanol to water, as a sum over its atoms.

Wildman & Crippen 1999 give each atom, hydrogens too, a contribution to log P that depends on its surroundings, and add
them up. Here are a few types in place of their 68, so the numbers are near theirs and not the same: over the molecules
of `data.molecules` their correlation is more than 0.9 (`tests/data/test_molecules.py`, with RDKit).
"""

from data.smiles import Atom, Molecule

CARBON = {"alkane": 0.14, "beside N, O, S": -0.20, "double bond to N, O, S": -0.28, "alkene": 0.15, "alkyne": 0.0,
          "aromatic": 0.15}  # fmt: skip
NITROGEN = {"NH2": -1.02, "NH": -0.71, "N": -0.32, "double or triple bond": -0.4, "aromatic": -0.32, "charged": -1.5}
OXYGEN = {"OH": -0.29, "ether": -0.2, "double bond": -0.12, "aromatic": 0.15, "charged": -1.3}
OTHERS = {"F": 0.41, "Cl": 0.69, "Br": 0.88, "I": 0.99, "S": 0.64, "P": 0.86, "B": 0.2, "Si": 0.3, "Se": 0.6, "H": 0.1}
HYDROGEN = {"C": 0.12, "N": 0.21, "O": -0.27}


def log_p(molecule: Molecule) -> float:
    """Returns the estimate of log P of a molecule."""
    joined = molecule.neighbours()
    total = 0.0
    for number, atom in enumerate(molecule.atoms):
        orders = list(joined[number].values())
        hetero = {molecule.atoms[a].element: order for a, order in joined[number].items()
                  if molecule.atoms[a].element not in ("C", "H")}  # fmt: skip
        total += _contribution(atom, orders, list(hetero.values())) + atom.hydrogens * HYDROGEN.get(atom.element, 0.0)
    return total


def _contribution(atom: Atom, orders: list[float], to_hetero: list[float]) -> float:
    if atom.element == "C":
        if atom.aromatic:
            return CARBON["aromatic"]
        if max(to_hetero, default=0) == 2:
            return CARBON["double bond to N, O, S"]
        kinds = {2: "alkene", 3: "alkyne"}
        return CARBON[kinds.get(int(max(orders, default=1)), "beside N, O, S" if to_hetero else "alkane")]
    if atom.element in "NO" and atom.charge:
        return (NITROGEN if atom.element == "N" else OXYGEN)["charged"]
    if atom.element == "N":
        if atom.aromatic or max(orders, default=1) > 1:
            return NITROGEN["aromatic" if atom.aromatic else "double or triple bond"]
        return NITROGEN[{0: "N", 1: "NH"}.get(atom.hydrogens, "NH2")]
    if atom.element == "O":
        if atom.aromatic or max(orders, default=1) > 1:
            return OXYGEN["aromatic" if atom.aromatic else "double bond"]
        return OXYGEN["OH" if atom.hydrogens else "ether"]
    return OTHERS[atom.element]
