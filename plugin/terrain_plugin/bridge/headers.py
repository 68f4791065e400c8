"""The C++ headers of the shim and the VST3 bundle's `moduleinfo.json`, made from the tables of this package and of
`terrain_core`: `python -m terrain_plugin.bridge.headers`.

They are kept in the repository (`plugin/native/generated`), so that the shim compiles without Python; a test holds them
to the tables.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from terrain_core import identity
from terrain_core.parameters import PARAMETERS, SPECIAL_WORDS, Parameter
from terrain_core.plugin_state import LARGEST_STATE, MAGIC, VERSION
from terrain_plugin.bridge import protocol
from terrain_plugin.bridge.protocol import KINDS, Record

FOLDER: Final = Path(__file__).parents[2] / "native" / "generated"

NOTICE: Final = (
    "// Made by `python -m terrain_plugin.bridge.headers`; change the tables it is made from, not this file."
)


def protocol_header() -> str:
    """`protocol.h`: what crosses the bridge."""
    constants = ("PROTOCOL_VERSION", "MAGIC", "CHANNELS", "MAX_EVENTS", "MAX_MESSAGE_BYTES", "CACHE_LINE")
    body = [f"constexpr std::uint32_t {_constant(name)} = {getattr(protocol, name)}u;" for name in constants]
    for kind in (
        protocol.RequestFlag,
        protocol.EventKind,
        protocol.NoteExpression,
        protocol.GestureKind,
        protocol.EngineState,
        protocol.Message,
    ):
        body += ["", *_enumeration(kind)]
    for record in protocol.RECORDS:
        body += ["", *_record(record)]
    return _header("terrain::bridge", ["<cstddef>", "<cstdint>"], body)


def parameters_header() -> str:
    """`parameters.h`: the parameters, in the order in which hosts list them."""
    body = [
        "struct Word { double value; const char* text; };",
        "",
        "struct Parameter {",
        "    std::uint32_t id;",
        "    const char* key;",
        "    const char* name;",
        "    const char* unit;",
        "    const char* group;",
        "    double low, high, initial;",
        "    std::uint32_t steps;    // number of values minus one; 0 for a continuous one",
        "    std::uint32_t decimals; // how its text is written",
        "    const Word* words;      // values that have a name",
        "    std::uint32_t word_count;",
        "    bool choices; // the words are all there is",
        "    bool read_only;",
        "};",
        "",
    ]
    body += [
        f"inline constexpr Word {_words_name(p)}[] = {{{', '.join(_word(*w) for w in _words(p))}}};"
        for p in PARAMETERS
        if _words(p)
    ]
    rows = [f"    {_parameter(p)}," for p in PARAMETERS]
    body += ["", "inline constexpr Parameter kParameters[] = {", *rows, "};"]
    body += [f"constexpr std::uint32_t kParameterCount = {len(PARAMETERS)};", ""]
    body += [
        "enum ParameterId : std::uint32_t {",
        *(f"    {_enumerator(p.key)} = {p.id}," for p in PARAMETERS),
        "};",
        "",
    ]
    status = next(p for p in PARAMETERS if p.key == "status")
    body += ["enum class Status : std::uint32_t {"]
    body += [f"    {_enumerator(choice)} = {index}," for index, choice in enumerate(status.choices or ())] + ["};"]
    return _header("terrain", ["<cstdint>"], body)


def identity_header() -> str:
    """`identity.h`: who the plugin is."""
    uuid = identity.VST3_CLASS_UUID.replace("-", "")
    octets = ", ".join(f"0x{uuid[i : i + 2]}" for i in range(0, 32, 2))
    texts = {
        "PluginName": identity.PLUGIN_NAME,
        "Vendor": identity.VENDOR,
        "Version": identity.VERSION,
        "Description": identity.DESCRIPTION,
        "ClapId": identity.CLAP_ID,
        "Vst3SubCategories": "|".join(identity.VST3_SUBCATEGORIES),
        "Vst3SdkVersion": identity.VST3_SDK_VERSION,
    }
    body = [f"constexpr const char* k{name} = {_quoted(text)};" for name, text in texts.items()]
    body += [f"constexpr std::uint8_t kVst3ClassId[16] = {{{octets}}};"]
    body += [f"constexpr const char* kStateMagic = {_quoted(MAGIC.decode())};"]
    body += [f"constexpr std::uint32_t kStateVersion = {VERSION};"]
    body += [f"constexpr std::uint32_t kLargestState = {LARGEST_STATE};"]
    return _header("terrain", ["<cstdint>"], body)


def module_info() -> str:
    """`moduleinfo.json`: what VST3 hosts read of a bundle without loading it; the same as its factory says."""
    plugin_class = {
        "CID": identity.VST3_CLASS_UUID.replace("-", "").upper(),
        "Category": "Audio Module Class",
        "Name": identity.PLUGIN_NAME,
        "Vendor": identity.VENDOR,
        "Version": identity.VERSION,
        "SDKVersion": identity.VST3_SDK_VERSION,
        "Sub Categories": list(identity.VST3_SUBCATEGORIES),
        "Class Flags": 0,
        "Cardinality": 0x7FFFFFFF,
        "Snapshots": [],
    }
    flags = {"Unicode": True, "Classes Discardable": False, "Component Non Discardable": False}
    info = {
        "Name": identity.PLUGIN_NAME,
        "Version": identity.VERSION,
        "Factory Info": {"Vendor": identity.VENDOR, "URL": "", "E-Mail": "", "Flags": flags},
        "Compatibility": [],
        "Classes": [plugin_class],
    }
    return json.dumps(info, indent=2) + "\n"


FILES: Final = {
    "protocol.h": protocol_header,
    "parameters.h": parameters_header,
    "identity.h": identity_header,
    "moduleinfo.json": module_info,
}


def _header(namespace: str, includes: Iterable[str], body: Iterable[str]) -> str:
    lines = [NOTICE, "#pragma once", "", *(f"#include {name}" for name in includes), ""]
    return "\n".join([*lines, f"namespace {namespace} {{", "", *body, "", f"}}  // namespace {namespace}", ""])


def _enumeration(kind: type[enum.IntEnum] | type[enum.IntFlag]) -> Iterator[str]:
    scope = "enum" if issubclass(kind, enum.IntFlag) else "enum class"  # flags are added up
    yield f"{scope} {kind.__name__} : std::uint32_t {{"
    for member in kind:
        yield f"    {_enumerator(str(member.name))} = {int(member)},"
    yield "};"


def _record(record: Record) -> Iterator[str]:
    """The struct, and a check of every offset: a compiler that lays it out otherwise must not build it."""
    dtype = record.dtype
    assert dtype.names
    assert dtype.fields
    yield f"// {record.help}"
    yield f"struct {record.name} {{"
    for field in record.fields:
        count = f"[{field.count}]" if field.count > 1 else ""
        comment = f"  // {field.help}" if field.help else ""
        yield f"    {KINDS[field.kind].cpp} {field.name}{count};{comment}"
    yield "};"
    yield f"static_assert(sizeof({record.name}) == {dtype.itemsize});"
    for name in dtype.names:
        yield f"static_assert(offsetof({record.name}, {name}) == {dtype.fields[name][1]});"


def _words(parameter: Parameter) -> list[tuple[float, str]]:
    if parameter.choices is not None:
        return [(float(index), text) for index, text in enumerate(parameter.choices)]
    return list(SPECIAL_WORDS.get(parameter.key, {}).items())


def _words_name(parameter: Parameter) -> str:
    return f"{_enumerator(parameter.key)}Words"


def _word(value: float, text: str) -> str:
    return f"{{{value!r}, {_quoted(text)}}}"


def _parameter(p: Parameter) -> str:
    words = _words(p)
    texts = ", ".join(_quoted(text) for text in (p.key, p.name, p.unit, p.group))
    numbers = ", ".join(repr(float(number)) for number in (p.low, p.high, p.default))
    flags = f"{str(p.choices is not None).lower()}, {str(p.read_only).lower()}"
    return (
        f"{{{p.id}, {texts}, {numbers}, {p.steps}, {p.decimals}, "
        f"{_words_name(p) if words else 'nullptr'}, {len(words)}, {flags}}}"
    )


def _constant(name: str) -> str:
    return "k" + "".join(part.capitalize() for part in name.split("_"))


def _enumerator(name: str) -> str:
    return "k" + "".join(part.capitalize() for part in name.replace(" ", "_").split("_"))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main() -> None:
    """Write the headers."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
