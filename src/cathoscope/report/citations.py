"""The literature and the programs behind the methods, once; each reference was looked up before it was written here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A paper or a standard; ``doi`` is empty where there is none or it is not known."""

    authors: str
    source: str
    doi: str = ""

    @property
    def text(self) -> str:
        """Authors and where it appeared."""
        return f"{self.authors}, {self.source}"


REFERENCES: dict[str, Reference] = {
    # tomography and images
    "stripes": Reference(
        "N. T. Vo, R. C. Atwood, M. Drakopoulos", "Opt. Express 26, 28396 (2018)", "10.1364/OE.26.028396"
    ),
    "otsu": Reference("N. Otsu", "IEEE Trans. Syst. Man Cybern. 9, 62 (1979)", "10.1109/TSMC.1979.4310076"),
    "thickness": Reference(
        "T. Hildebrand, P. Rüegsegger", "J. Microsc. 185, 67 (1997)", "10.1046/j.1365-2818.1997.1340694.x"
    ),
    # spectra
    "projection": Reference("G. Golub, V. Pereyra", "Inverse Problems 19, R1 (2003)", "10.1088/0266-5611/19/2/201"),
    "athena": Reference("B. Ravel, M. Newville", "J. Synchrotron Rad. 12, 537 (2005)", "10.1107/S0909049505012719"),
    "integral": Reference("H. Dau, P. Liebisch, M. Haumann", "Anal. Bioanal. Chem. 376, 562 (2003)"),
    # diffraction
    "rietveld": Reference("H. M. Rietveld", "J. Appl. Cryst. 2, 65 (1969)", "10.1107/S0021889869006558"),
    "le bail": Reference(
        "A. Le Bail, H. Duroy, J. L. Fourquet", "Mater. Res. Bull. 23, 447 (1988)", "10.1016/0025-5408(88)90019-0"
    ),
    "pawley": Reference("G. S. Pawley", "J. Appl. Cryst. 14, 357 (1981)", "10.1107/S0021889881009618"),
    "profile": Reference(
        "P. Thompson, D. E. Cox, J. B. Hastings", "J. Appl. Cryst. 20, 79 (1987)", "10.1107/S0021889887087090"
    ),
    "stephens": Reference("P. W. Stephens", "J. Appl. Cryst. 32, 281 (1999)", "10.1107/S0021889898006001"),
    # heating
    "iso mass": Reference("ISO 11358-1", "Plastics: thermogravimetry of polymers, part 1"),
    "astm": Reference("ASTM E2550", "Standard test method for thermal stability by thermogravimetry"),
    "iso heat": Reference("ISO 11357-1", "Plastics: differential scanning calorimetry, part 1"),
    "kissinger": Reference("H. E. Kissinger", "Anal. Chem. 29, 1702 (1957)", "10.1021/ac60131a045"),
    # cells
    "kramers kronig": Reference("B. A. Boukamp", "J. Electrochem. Soc. 142, 1885 (1995)", "10.1149/1.2044210"),
    "lin-kk": Reference(
        "M. Schönleber, D. Klotz, E. Ivers-Tiffée",
        "Electrochim. Acta 131, 20 (2014)",
        "10.1016/j.electacta.2014.01.034",
    ),
    "relaxation": Reference(
        "M. Saccoccio, T. H. Wan, C. Chen, F. Ciucci",
        "Electrochim. Acta 147, 470 (2014)",
        "10.1016/j.electacta.2014.09.058",
    ),
    "brug": Reference("G. J. Brug et al.", "J. Electroanal. Chem. 176, 275 (1984)", "10.1016/S0022-0728(84)80324-1"),
    "aicc": Reference("C. M. Hurvich, C.-L. Tsai", "Biometrika 76, 297 (1989)", "10.1093/biomet/76.2.297"),
    "knee": Reference("P. Fermín-Cueto et al.", "Energy and AI 1, 100006 (2020)", "10.1016/j.egyai.2020.100006"),
    # statistics
    "welch": Reference("B. L. Welch", "Biometrika 34, 28 (1947)", "10.1093/biomet/34.1-2.28"),
    "hedges": Reference("L. V. Hedges", "J. Educ. Stat. 6, 107 (1981)", "10.3102/10769986006002107"),
    "holm": Reference("S. Holm", "Scand. J. Stat. 6, 65 (1979)"),
    "discovery": Reference(
        "Y. Benjamini, Y. Hochberg", "J. R. Stat. Soc. B 57, 289 (1995)", "10.1111/j.2517-6161.1995.tb02031.x"
    ),
    # programs
    "numpy": Reference("C. R. Harris et al.", "Nature 585, 357 (2020)", "10.1038/s41586-020-2649-2"),
    "scipy": Reference("P. Virtanen et al.", "Nat. Methods 17, 261 (2020)", "10.1038/s41592-019-0686-2"),
    "numba": Reference("S. K. Lam, A. Pitrou, S. Seibert", "Proc. LLVM-HPC, 7 (2015)", "10.1145/2833157.2833162"),
    "xarray": Reference("S. Hoyer, J. Hamman", "J. Open Res. Softw. 5, 10 (2017)", "10.5334/jors.148"),
    "scikit-image": Reference("S. van der Walt et al.", "PeerJ 2, e453 (2014)", "10.7717/peerj.453"),
    "algotom": Reference("N. T. Vo et al.", "Opt. Express 29, 17849 (2021)", "10.1364/OE.418448"),
}
