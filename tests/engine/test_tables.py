"""A table is read as its columns' names mean it, what is left is said, and what is refused has a line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES
from znas_engine.errors import DataError, InvalidValueError, ZnasError
from znas_engine.spaces.nasbench201 import NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import OPERATIONS
from znas_engine.tables import Table, read_table
from znas_engine.tables import files as table_files
from znas_engine.tables.meaning import meaning

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]


def cell(number: int) -> str:
    """The string of one of the 15,625."""
    return str(NasBench201Genotype(tuple(OPERATIONS[number // 5**k % 5] for k in range(6))))


def write(path: Path, header: str, *rows: str, separator: str = ",") -> Path:
    """Rows after an architecture each; `{}` in a row is where the architecture stands, else it is first."""
    lines = [
        row.format(cell(k)) if "{}" in row else separator.join([cell(k), row]) for k, row in enumerate(rows)
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def read(path: Path, space: Any = NB201) -> tuple[Table, list[str]]:
    said: list[str] = []
    return read_table(path, space, report=said.append), said


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


# --- what a name means ---

MEANINGS = {
    "accuracy": "acc,Accuracy,ACC,top1,top-1,Top1,top_1,Acc@1,prec@1,val,test,valid,validation,"
    "cifar10,CIFAR-100,imagenet,ImageNet16-120,ImageNet16-120 valid,image_net,testAcc,"
    "val_accuracy(%),cifar10_test_200ep,x-test,ori-test,test_acc_seed777,val_seed1,"
    "val_200epochs,acc_epoch_200,best_val,mean_acc,defects_acc,svhn,valacc,C10,c100,IN16-120,in16 test,"
    "acc (n=3),CIFAR-100-acc,imagenet-1k acc",
    "rows": ",Unnamed: 0,unnamed: 0.1,index,Index,idx,id,rank,#,no,No.,Nr,arch_index,arch id,"
    "Model no.,row,i,level_0,accuracy_rank,row number",
    "loss": "loss,test_loss,val_err,test_error,top1_error,Err.,regret,cross_entropy,logloss,"
    "valError,RMSE,perplexity,1-acc,100 - accuracy,1 − test acc,one minus acc,misclassification,"
    "misclassified,Fehlerrate,erreur,bce,wrong",
    "other": "params,#params,num_params,FLOPs,MACs (M),latency,edgegpu_ms,raspi4_ms,fpga_mj,"
    "seconds,train_time,test_time,gpu_hours,energy,model size,acc_std,test std,acc_var,"
    "epoch,epochs,cifar10_epochs,best_epoch,seed,lr,batch,depth,train,train_acc,"
    "cifar10_train,acc_gain,n_acc,acc_count,num_acc,acc_stderr,acc±,acc σ,acc_lower,accuracy_q25,"
    "Δacc,acc_zscore,relative_acc,log_acc",
    "unsaid": "predicted_acc,surrogate_accuracy,pred_test_acc,"
    "other,x,score,reward,synflow,cifar10_synflow,test_zen,result of mine,0,1,Genauigkeit",
}


@pytest.mark.parametrize(
    ("kind", "name"), [(k, n) for k, names in MEANINGS.items() for n in names.split(",")]
)
def test_names_mean_something(kind: str, name: str) -> None:
    found, why = meaning(name)
    assert found == kind
    assert bool(why) == (kind != "accuracy")


@pytest.mark.ours
@given(st.text(max_size=3000))
def test_every_name_has_a_meaning(name: str) -> None:
    assert meaning(name)[0] in MEANINGS


PAGE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_the_page_of_tables_shows_what_is_done(path: Path) -> None:
    """Its example is read with its remark, and its names mean what it says."""
    page = PAGE.read_text(encoding="utf-8")
    example, remark = (re.search(f"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("csv", "text"))
    assert example
    assert remark
    path.write_text(example[1])
    table, said = read(path)
    assert [line.replace(str(path), "cells.csv") for line in said] == [remark[1].strip()]
    assert table.column(None)[1].tolist() == [91.52, 93.11]
    rows = re.findall(r"^\| (.*?) \| (`.*?) \| ", page, re.MULTILINE)
    kinds = ("rows", "loss", "other", "other", "accuracy", "other", "accuracy", "unsaid")
    for (_, examples), kind in zip(rows, kinds, strict=True):
        assert {meaning(name)[0] for name in re.findall("`(.*?)`", examples)} == {kind}


# --- columns that are no accuracies never become one ---


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index", "idx", "no", "#", "rank", "pos", "lfd"])
def test_row_numbers_in_front_are_not_learnt(path: Path, name: str) -> None:
    rows = [f"{k},{{}},{90 - k}.5" for k in range(12)]
    table, said = read(write(path, f"{name},arch,accuracy", *rows))
    chosen, values = table.column(None)
    assert chosen == "accuracy"
    assert values.tolist() == [90.5 - k for k in range(12)]
    assert [*table.accuracies()] == ["accuracy"]
    (line,) = said
    assert line.startswith(f"{path}: accuracies in percent: 'accuracy'; left out: '{name or 'column 1'}' (")


@pytest.mark.parametrize(
    "name",
    ["params", "edgegpu_ms", "epochs", "seed", "train_acc", "acc_std", "notes", "synflow", "test_error"],
)
def test_numbers_of_another_kind_are_left_and_said(path: Path, name: str) -> None:
    table, said = read(write(path, f"arch,{name},val", "50,91", "51,92", "52,90"))
    assert table.column(None)[0] == "val"
    assert f"left out: '{name}' (" in said[0]
    if name != "test_error":
        assert table.column(name)[1].tolist() == [50, 51, 52]


@pytest.mark.parametrize(
    "cell",
    ["tensor(9{}.1)", "[9{}.1]", '"(9{}.1, 0.2)"', "~9{}.1", "'9{}.1", '"=""9{}.1"""', "acc=9{}.1", "$9{}"],
)
def test_an_accuracy_in_other_clothes_does_not_give_way(path: Path, cell: str) -> None:
    rows = [f"{cell.format(k)},8{k}.5" for k in range(4)]
    table, _ = read(write(path, "arch,cifar10_test,cifar10_valid", *rows))
    with pytest.raises(DataError, match=r"t\.csv, column 'cifar10_test', line 2: .* is no number"):
        table.column(None)
    assert table.column("cifar10_valid")[1].tolist() == [80.5, 81.5, 82.5, 83.5]


@pytest.mark.parametrize("cells", ["cifar10,cifar10", "ImageNet16-120,x-valid", "True,False", "0,1", "1,1"])
def test_words_and_flags_under_the_name_of_a_split_are_left(path: Path, cells: str) -> None:
    table, said = read(write(path, "arch,valid,acc", *(f"{c},9{k}" for k, c in enumerate(cells.split(",")))))
    assert table.column(None)[0] == "acc"
    assert [*table.accuracies()] == ["acc"]
    assert "left out: 'valid' (" in said[0]


@pytest.mark.parametrize("gap", ["#N/A", "#DIV/0!", "#REF!", "#NAME?", "#NV", "#WERT!"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_gap_of_a_spreadsheet_is_no_comment(path: Path, gap: str, separator: str) -> None:
    rows = [f"9{k}.1{separator}{{}}" for k in range(3)] + [f"{gap}{separator}{{}}"]
    table, _ = read(write(path, f"acc{separator}arch", *rows))
    with pytest.raises(DataError, match=f"column 'acc', line 5: '{re.escape(gap)}' is no number"):
        table.column(None)


@pytest.mark.parametrize("space", [" ", "\xa0", "\u202f"])
def test_percent_with_a_space(path: Path, space: str) -> None:
    table, _ = read(write(path, "arch;acc", *(f"9{k},5{space}%" for k in range(3)), separator=";"))
    assert table.column(None)[1].tolist() == [90.5, 91.5, 92.5]


def test_architectures_of_numbers_are_said(path: Path) -> None:
    """Code bases number operations and edges in other ways, and no line could show it."""
    path.write_text('net,acc\n"(4, 0, 3, 1, 4, 3)",91\n"[4, 0, 3, 1, 4, 2]",92\n')
    table, said = read(path)
    assert str(table.genotypes[0]).startswith("|avg_pool_3x3~0|+|none~0|")
    assert "are numbers, which are read as 0 none, 1 skip_connect, 2 nor_conv_1x1" in said[0]
    assert not any("are numbers" in line for line in read(write(path, "arch,acc", "91", "92"))[1])


def test_without_an_accuracy_a_name_is_needed(path: Path) -> None:
    table, _ = read(write(path, "arch,edgegpu_ms,params", "5.8,1073466", "6.5,1073467"))
    with pytest.raises(DataError, match=r"t.csv has no accuracy .*'edgegpu_ms' \(a cost\).*--column"):
        table.column(None)
    with pytest.raises(DataError, match="has no accuracy"):
        table.accuracies()
    assert table.column("params")[1].tolist() == [1073466, 1073467]


def test_the_only_number_may_have_any_name_and_two_may_not(path: Path) -> None:
    table, said = read(write(path, "arch,defects", "91", "93.5"))
    assert table.column(None)[0] == "defects"
    assert "'defects', though its name does not say so; left out: none" in said[0]
    assert read(write(path, "id,arch,defects,params", "1,{},91,7", "2,{},93.5,9"))[0].first == "defects"
    table, _ = read(write(path, "arch,defects,reward", "91,0.3", "93.5,0.4"))
    with pytest.raises(DataError, match=r"'defects' .its name does not say.*'reward'"):
        table.column(None)
    table, _ = read(write(path, "arch,mystery", "2", "0", "1"))
    with pytest.raises(DataError, match=r"'mystery' .whole numbers one after the other"):
        table.column(None)


@pytest.mark.parametrize("name", ["test_error", "val_loss", "regret"])
def test_smaller_is_better_is_refused_by_name_too(path: Path, name: str) -> None:
    table, _ = read(write(path, f"arch,{name}", "8.1", "7.2"))
    for asked in (None, name):
        with pytest.raises(DataError, match="smaller is better"):
            table.column(asked)


def test_many_columns_are_one_remark(path: Path) -> None:
    header = ",".join(["arch", *(f"{name}{k}" for k in range(300) for name in ("acc", "params"))])
    _, said = read(write(path, header, ",".join(["91", "5"] * 300), ",".join(["92", "5"] * 300)))
    (line,) = said
    assert len(line) <= 300


# --- an accuracy is a number in percent in every row ---

BAD_CELLS = {
    "9186.63": "line 4: '9186.63' is no accuracy in percent, which lies between 0 and 100",
    "-5": "line 4: '-5' is no accuracy",
    "100.01": "line 4: '100.01' is no accuracy",
    "": "line 4: '' is no number: fill it in or delete the line",
    "nan": "line 4: 'nan' is no number",
    "inf": "line 4: 'inf' is no number",
    "-": "line 4: '-' is no number",
    "N/A": "line 4: 'N/A' is no number",
    "1e999": "line 4: '1e999' is no number",
    "9_1": "line 4: '9_1' is no number",
    "٩١": "line 4: .* is no number",
    "93.1 ± 0.2": "line 4: .*write the mean alone",
    "93.1+-0.2": "line 4: .*write the mean alone",
    "93.1%": "line 4: '93.1%' and '91.5' differ in their percent sign",
    "0x5b": "line 4: '0x5b' is no number",
    "9 1": "line 4: '9 1' is no number",
    '"1,234.5"': "line 4: .*has a comma",
    "0.92": "line 4: '0.92' looks like a share among percent: multiply it by 100",
    "9" * 5000: "line 4: '999.* is no number",
}


@pytest.mark.parametrize("bad", BAD_CELLS, ids=lambda bad: bad[:10])
def test_a_bad_cell_refuses_its_column_and_never_gives_way(path: Path, bad: str) -> None:
    table, said = read(write(path, "arch,acc,cifar100", "91.5,1", "93,2", f"{bad},3", "90,4"))
    for asked in (None, "acc"):
        with pytest.raises(DataError, match=f"t.csv, column 'acc', {BAD_CELLS[bad]}") as caught:
            table.column(asked)
        assert len(str(caught.value)) <= 300
    with pytest.raises(DataError, match="column 'acc', line 4"):
        table.accuracies()
    assert "'acc' (line 4: " in said[0]
    assert table.column("cifar100")[1].tolist() == [1, 2, 3, 4]


def test_a_bad_cell_of_a_later_accuracy_leaves_it_out_and_says_so(path: Path) -> None:
    table, said = read(write(path, "arch,cifar10,imagenet", "91,40", "92,"))
    assert [*table.accuracies()] == ["cifar10"]
    assert "left out: 'imagenet' (line 3: '' is no number" in said[0]
    with pytest.raises(DataError, match="column 'imagenet', line 3"):
        table.column("imagenet")


def test_shares_are_refused(path: Path) -> None:
    table, _ = read(write(path, "arch,acc", "0.91", "0.10", "1.0"))
    with pytest.raises(DataError, match=r"line 2: '0.91'.*shares, not percent: multiply by 100"):
        table.column(None)


def test_chance_among_many_classes_is_percent(path: Path) -> None:
    """ImageNet16-120: 0.83 % for networks that learn nothing."""
    rows = ["0.83", "0.8333", "46.7", "40.2", "30", "44"]
    assert read(write(path, "arch,imagenet16_test", *rows))[0].column(None)[1][0] == 0.83


def test_percent_signs_exponents_and_spaces(path: Path) -> None:
    assert (
        read(write(path, "arch,acc", "93.1%", " 91 %".replace(" %", "%"), "0.5%"))[0].column(None)[1][2]
        == 0.5
    )
    assert read(write(path, "arch , acc", " 9.31e1 ", "+91.", ".5e2"))[0].column("acc")[1].tolist() == [
        93.1,
        91,
        50,
    ]


def test_equal_values_rank_nothing(path: Path) -> None:
    table, _ = read(write(path, "arch,acc", "50", "50"))
    with pytest.raises(DataError, match="'acc': every value is 50"):
        table.column(None)
    assert table.column("acc")[1].tolist() == [50, 50]


# --- architectures ---


def test_doubles(path: Path) -> None:
    path.write_text(f"arch,acc,seed\n{cell(1)},91,1\n{cell(2)},92,1\n{cell(1)},91.0,1\n")
    table, said = read(path)
    assert table.column(None)[1].tolist() == [91, 92]
    assert len(table.genotypes) == 2
    assert any(
        "1 lines repeat an architecture and do not count: line 4 that of line 2" in line for line in said
    )
    path.write_text(f'arch,acc\n{cell(1)},91\n{cell(2)},92\n"[1,0,0,0,0,0]",91.5\n')  # the first once more
    with pytest.raises(DataError, match=r"'acc', lines 2 and 4 give one architecture 91 and 91.5"):
        read(path)[0].column(None)


def test_the_column_of_architectures_is_the_one_that_is_read(path: Path) -> None:
    table, said = read(write(path, "name,cell,acc", "first,{},91", "second,{},92"))
    assert [str(genotype) for genotype in table.genotypes] == [cell(0), cell(1)]
    assert "'name' (text)" in said[0]
    assert len(read(write(path, "a,b,acc", f"{cell(0)},{{}},91", f"{cell(1)},{{}},92"))[0].genotypes) == 2
    with pytest.raises(DataError, match="line 3: columns 'a' and 'b' hold different architectures"):
        read(write(path, "a,b,acc", f"{cell(0)},{{}},91", f"{cell(3)},{{}},92"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("\n\n# nothing\n", "no rows"),
        ("arch,acc\n", "no rows below its header"),
        ("a,b\n1,2\n", "no text column with architectures of nasbench201"),
        (f"arch\n{cell(0)}\n", "no numeric column beside 'arch'"),
        (f"arch,notes\n{cell(0)},fine\n", "no numeric column beside 'arch'"),
        (f"{cell(0)},91\n{cell(1)},92\n", "has no header but begins with"),
        (f"# arch,acc\n{cell(0)},91\n{cell(1)},92\n", "has no header .*begins with # is a comment"),
        (f"arch,acc\n{cell(0)},91\n|x~0|,90\n", "line 3, column 'arch': "),
        (f"arch,acc\n\n{cell(0)},91\nGenotype(),90\n", "line 4, column 'arch': not a NAS-Bench-201 arch"),
        (f"arch,acc\n{cell(0)},91\n,90\n", "line 3, column 'arch': "),
        (f"arch,acc\n{cell(0)},91\narch,acc\n", "line 3, column 'arch': "),
        (f"arch,acc\n{cell(0)},91\n{cell(1)}\n", "line 3: 1 cells where its header has 2"),
        (f"arch,acc\n{cell(0)},91\n{cell(1)},9,1\n", "line 3: 3 cells where its header has 2"),
        (f'arch,acc\n{cell(0)},91\n"{cell(1)},90\n', "line 3: its quotes do not close"),
        (f"arch,acc,acc\n{cell(0)},91,92\n", "line 1: two columns are called 'acc'"),
        (f"# of mine\narch,acc, acc\n{cell(0)},91,92\n", "line 2: two columns are called 'acc'"),
        (f"arch,acc\n{cell(0)},9\x001\n", r"line 2: '\\x00' is in no text"),
        (f"arch,acc\n{cell(0)},91\n{'x' * 200_000},91\n", "line 3: no CSV .field larger than field limit"),
        ('{"arch": 1}', "is JSON: save it as CSV"),
        ('[{"arch": 1}]', "is JSON: save it as CSV"),
        ("<!DOCTYPE html><html>", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS"),
        ("a,b;c\n1,2;3\n", "no text column|could be separated"),
    ],
)
def test_what_is_no_table_has_a_line(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=f"t.csv.*{message}") as caught:
        read(path)
    assert len(str(caught.value)) <= 300


# --- files ---


def answer(path: Path) -> Any:
    """The first accuracy's values, or the message that refuses them."""
    try:
        return read_table(path, NB201).column(None)[1]
    except ZnasError as error:
        return str(error)


PLAIN = f"arch,acc\n{cell(0)},91.5\n{cell(1)},92.5\n"


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return file.getvalue()


WAYS: dict[str, bytes] = {
    "plain": PLAIN.encode(),
    "UTF-8 with a mark": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32"),
    "Windows' lines": PLAIN.replace("\n", "\r\n").encode(),
    "old Mac's lines": PLAIN.replace("\n", "\r").encode(),
    "no last newline": PLAIN.rstrip().encode(),
    "blank lines": PLAIN.replace("\n", "\n\n").encode(),
    "lines of separators": PLAIN.encode() + b",\n,\n",
    "comments": b'# of "mine, yours\n' + PLAIN.replace("\n", '\n# "open\n', 1).encode(),
    "quoted": "".join('"{}","{}"\n'.format(*line.split(",")) for line in PLAIN.split()).encode(),
    "separators at the end": PLAIN.replace("\n", ",\n").encode(),
    "separators at the end of rows": PLAIN.replace("5\n", "5,,\n").encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "semicolons and decimal commas": PLAIN.replace(",", ";").replace(".", ",").encode(),
    "tabs and decimal commas": PLAIN.replace(",", "\t").replace(".", ",").encode(),
    "Excel's first line": b"sep=;\n" + PLAIN.replace(",", ";").encode(),
    "gzip": gzip.compress(PLAIN.encode()),
    "gzip in two streams": gzip.compress(PLAIN[:30].encode()) + gzip.compress(PLAIN[30:].encode()),
    "bzip2": bz2.compress(PLAIN.encode()),
    "xz": lzma.compress(PLAIN.encode()),
    "UTF-16 in gzip": gzip.compress(PLAIN.encode("utf-16")),
    "zip": zipped(**{"t.csv": PLAIN.encode(), "__MACOSX__._t.csv": b"x", ".DS_Store": b"x"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_storing_a_table(path: Path, way: str) -> None:
    path.write_bytes(WAYS[way])
    table, _ = read(path)
    assert [str(genotype) for genotype in table.genotypes] == [cell(0), cell(1)]
    assert table.column(None)[0] == "acc"
    assert table.column(None)[1].tolist() == [91.5, 92.5]


def test_latin_1_is_remarked_on(path: Path) -> None:
    path.write_bytes(f"arch,genauigkeit für ü,acc\n{cell(0)},1,91\n{cell(1)},7,92\n".encode("latin-1"))
    table, said = read(path)
    assert "genauigkeit für ü" in table.columns
    assert said[0] == f"{path} is not UTF-8: read as Latin-1"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(**{"xl__workbook.xml": b"<x/>", "a.csv": b""}), "is an Excel file: save it as CSV"),
        (zipped(**{"archive__data.pkl": b"", "archive__version": b"3"}), "is a PyTorch file"),
        (zipped(**{"a.csv": b"", "b.csv": b""}), "is a zip of 2 files: unpack it and name one"),
        (zipped(), "cannot be|is in no text|a zip of 0|no rows"),
        (zipped(**{"a.csv": PLAIN.encode()})[:-30], "cannot be unpacked"),
        (b"PAR1" + bytes(40), "is a Parquet file: save it as CSV"),
        (pickle.dumps([1, 2]), "is a pickle"),
        (gzip.compress(PLAIN.encode())[:-9], "cannot be unpacked .it is truncated"),
        (gzip.compress(PLAIN.encode())[:20] + b"\0" * 30, "cannot be unpacked"),
        (bz2.compress(PLAIN.encode()) + b"more", "something follows its compressed data"),
        (gzip.compress(gzip.compress(PLAIN.encode())), "is packed twice"),
        (b"\xfd7zXZ\0" + bytes(50), "cannot be unpacked"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
        (PLAIN.encode("utf-16-le"), r"line 1: '\\x00' is in no text"),
        (b"\xff\xfe\x00", "cannot be read as utf-16"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # bytes hold the time of day
)
def test_other_files_are_refused_by_name(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"t.csv.*({message})"):
        read(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: zipped(t=data)])
def test_bombs_are_one_line(path: Path, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(pack(bytes(3 << 20)))
    monkeypatch.setattr(table_files, "LIMIT", 1 << 20)
    with pytest.raises(DataError, match="unfolds into more than 1,048,576 bytes"):
        read(path)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "absent.csv", "absent.csv cannot be read .No such file"),
        (tmp_path / "pipe", "it is a pipe or a device"),
        (Path("/dev/zero"), "it is a pipe or a device"),
        (tmp_path / ("x" * 5000), "cannot be used|cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            read_table(path, NB201)


@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"arch,acc\n{cell(3)},{text}".encode())
)
def test_any_bytes_are_a_table_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    found = answer(path)
    if isinstance(found, str):
        assert len(found) <= 300
        assert found.isprintable()
    else:
        assert ((found >= 0) & (found <= 100)).all()


# --- callers from Python ---


def test_arguments_are_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, "arch,acc", "91", "92")
    monkeypatch.setenv("HOME", str(path.parent))
    for written in (str(path), "~/t.csv"):
        table = read_table(written, NB201)
        assert table.masks(NB201).shape == (2, 6, 5)
    for call in (
        lambda: table.column(3),  # type: ignore[arg-type]
        lambda: table.column("accuracy"),
        lambda: table.column("x" * 10**6),
        lambda: table.masks(None),  # type: ignore[arg-type]
        lambda: table.masks(DARTS),
        lambda: read_table(None, NB201),  # type: ignore[arg-type]
        lambda: read_table(3, NB201),  # type: ignore[arg-type]
        lambda: read_table("a\0b", NB201),
        lambda: read_table("", NB201),
        lambda: read_table(path, "nasbench201"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidValueError) as caught:
            call()
        assert len(str(caught.value)) <= 300


# --- real tables ---

REAL = {
    "nasbench201/cifar10": (NB201, ["cifar10_test_200ep"]),
    "nasbench201/latency": (NB201, []),
    "darts/cifar10": (DARTS, ["cifar10_val_200ep"]),
    "darts/cifar10_600epochs": (DARTS, ["cifar10_test_best", "cifar10_test_600ep"]),
    "darts/cifar10_50epochs": (DARTS, ["cifar10_test_50ep"]),
}


@pytest.mark.parametrize("name", REAL)
def test_real_tables_are_what_csv_says(test_data: Path, name: str) -> None:
    path = test_data / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    space, accuracies = REAL[name]
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    table, _ = read(path, space)
    where = next(k for k, name in enumerate(header) if name in ("arch", "genotype"))
    assert [str(genotype) for genotype in table.genotypes] == [str(space.parse(row[where])) for row in rows]
    expected = {
        name: [float(row[k]) for row in rows]
        for k, name in enumerate(header)
        if k != where and name != "index"
    }
    assert [*table.columns] == [*expected]
    for column, values in expected.items():
        assert np.array_equal(table.columns[column], values)
    assert table.first == next(iter(accuracies), None)
    if accuracies:
        assert [*table.accuracies()] == accuracies
