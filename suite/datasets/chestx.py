"""ChestX-ray8: X-rays with one finding of seven, for few-shot episodes from all of them.

The split is ours, drawn by a seed (drawn.py); the published episodes take both parts together.
"""

from suite.dataset import Archive, Dataset

PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
HOME = "https://nihcc.box.com/shared/static"
SHARED = (  # what NIH's own program (batch_download_zips.py) asks for, in the order of its archives
    "vfk49d74nhbxq3nqjg0900w5nvkorp5c",
    "i28rlmbvmfjbl8p2n3ril0pptcmcu9d1",
    "f1t00wrtdk94satdfb9olcolqx20z2jp",
    "0aowwzs5lhjrceb3qp67ahp0rd1l1etg",
    "v5e3goj22zr6h8tzualxfsqlqaygfbsn",
    "asi7ikud9jwnkrnkj99jnpfkjdes7l6l",
    "jn1b4mw4n6lnh74ovmcjb8y48h8xj07n",
    "tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j",
    "upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj",
    "l6nilvfa9cg3s28tqv1qc1olm3gnz54p",
    "hhq8fkdgvcari67vfhs7ppg2w6ni4jze",
    "ioqwiy20ihqwyr8pf4c24eazhh281pbu",
)

CHESTX = Dataset(
    name="chestx",
    layout="chestx",
    path="ChestX",
    classes=7,
    counts={"train": 20679, "test": 5169},
    source="Data_Entry_2017.csv and images_001.tar.gz to images_012.tar.gz",
    archives=(
        Archive((f"{PAGE}#Data_Entry_2017.csv", f"{PAGE}#Data_Entry_2017_v2020.csv")),
        *(Archive((f"{HOME}/{one}.gz#images_{at:03d}.tar.gz",)) for at, one in enumerate(SHARED, 1)),
    ),
    page=PAGE,
    licence="NIH Clinical Center: free to use, with acknowledgement",
    citation="Wang et al., ChestX-ray8: hospital-scale chest X-ray database and benchmarks, CVPR 2017",
)
