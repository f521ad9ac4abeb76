"""`license=commercial` admits what is known to allow it, and nothing else."""

from types import SimpleNamespace

import pytest
from hydra.core.global_hydra import GlobalHydra
from run_entry import medrobust

from medrobust.adapters import NoAdapter
from medrobust.base.licenses import commercial_use
from medrobust.cli import entry as cli
from medrobust.evaluation.licensing import check_licenses
from medrobust.exceptions import ConfigurationError


def experiment(model: str, *data: str, license_: str = "commercial", origin: str = "public"):
    sets = [
        SimpleNamespace(name=f"set{k}", license=name, origin=origin) for k, name in enumerate(data)
    ]
    asked = SimpleNamespace(
        license=license_,
        model=SimpleNamespace(source=SimpleNamespace(name="m", license=model), adapter=NoAdapter()),
        data=SimpleNamespace(datasets=sets),
    )
    return asked, SimpleNamespace(image_set=lambda source: source)


@pytest.mark.parametrize(
    ("model", "data", "sentence"),
    [
        ("CC BY-NC 4.0", "CC BY 4.0", "model 'm' has the license 'CC BY-NC 4.0', which forbids"),
        ("not confirmed", "CC BY 4.0", "model 'm' .* is not known to allow commercial use"),
        ("MIT (code)", "CC BY 4.0", "model 'm' .* is not known to allow"),
        ("", "CC BY 4.0", "has the license 'unknown'"),
        ("MIT", "CC BY-NC-SA 4.0", "data set 'set1' .* forbids commercial use"),
        ("MIT", "", "data set 'set1' has the license 'unknown', which is not known"),
    ],
)
def test_a_license_that_is_not_known_to_allow_it_is_refused(model, data, sentence) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        check_licenses(*experiment(model, "CC BY 4.0", data))


def test_what_allows_it_passes_and_without_the_switch_everything_does() -> None:
    check_licenses(*experiment("MIT", "CC BY 4.0", "CC BY-SA 4.0"))
    check_licenses(*experiment("MIT", "own", origin="own"))
    check_licenses(*experiment("", "CC BY-NC 4.0", license_="any"))
    with pytest.raises(ConfigurationError, match="license=free: write any or commercial"):
        check_licenses(*experiment("MIT", license_="free"))


@pytest.mark.slow
def test_the_demonstration_is_fit_for_commercial_use_and_a_research_model_is_not(
    workplace, capfd
) -> None:
    def run(*arguments: str) -> int:
        GlobalHydra.instance().clear()
        with pytest.raises(SystemExit) as done:
            cli.main([*arguments, "license=commercial", "dataset=phantoms"])
        return done.value.code

    assert run("model=phantomclip_small", "corruption=clean", "dataset.per_class=1") == 0
    assert run("model=unimedclip_b16", "corruption=clean") == 1
    assert "model 'unimedclip_b16' has the license 'CC BY-NC 4.0'" in capfd.readouterr().err
    page = next((workplace / "outputs/runs").glob("*/report.html")).read_text(encoding="utf-8")
    assert page.count("Apache-2.0 (commercial use: allowed)") == 2


def test_a_model_is_refused_before_its_data_are_asked_for(workplace, capfd) -> None:
    assert medrobust("model=unimedclip_b16", "license=commercial", "dataset.root=nowhere") == 1
    assert "the license 'CC BY-NC 4.0', which forbids commercial use" in capfd.readouterr().err


def test_every_license_in_conf_and_facts_has_a_verdict_that_was_meant() -> None:
    from medrobust.datasets.published import medimeta_facts, medmnist_facts

    stated = {facts.license for facts in medmnist_facts.FACTS.values()}
    stated |= {facts.license for facts in medimeta_facts.FACTS.values()}
    verdicts = {name: commercial_use(name) for name in stated}
    assert verdicts == {
        "CC BY 4.0": "allowed",
        "CC BY-SA 4.0": "allowed",
        "CC BY-NC 4.0": "forbidden",
        "CC BY-NC-SA 4.0": "forbidden",
    }
