// What a VST3 host finds in the library: its entry points, and the factory with one class.
#include <cstdio>
#include <cstring>

#include "generated/identity.h"
#include "vst3/interfaces.h"
#include "vst3/plugin.h"
#include "vst3/text.h"

namespace terrain::vst3 {
namespace {

constexpr const char* kCategory = "Audio Module Class";
constexpr std::int32_t kManyInstances = 0x7FFFFFFF;

void copy_text(char* to, std::size_t size, const char* text) { std::snprintf(to, size, "%s", text); }

template <typename Info>
v3_result fill(std::int32_t index, Info* info) {
    if (index != 0) return V3_INVALID_ARG;
    *info = {};
    std::memcpy(info->class_id, kVst3ClassId, sizeof(v3_tuid));
    info->cardinality = kManyInstances;
    copy_text(info->category, sizeof info->category, kCategory);
    return V3_OK;
}

v3_result class_info(std::int32_t index, v3_class_info* info) {
    if (fill(index, info) != V3_OK) return V3_INVALID_ARG;
    copy_text(info->name, sizeof info->name, kPluginName);
    return V3_OK;
}

v3_result class_info_2(std::int32_t index, v3_class_info_2* info) {
    if (fill(index, info) != V3_OK) return V3_INVALID_ARG;
    copy_text(info->name, sizeof info->name, kPluginName);
    copy_text(info->sub_categories, sizeof info->sub_categories, kVst3SubCategories);
    copy_text(info->vendor, sizeof info->vendor, kVendor);
    copy_text(info->version, sizeof info->version, kVersion);
    copy_text(info->sdk_version, sizeof info->sdk_version, kVst3SdkVersion);
    return V3_OK;
}

v3_result class_info_3(std::int32_t index, v3_class_info_3* info) {
    if (fill(index, info) != V3_OK) return V3_INVALID_ARG;
    write_text(kPluginName, info->name);
    copy_text(info->sub_categories, sizeof info->sub_categories, kVst3SubCategories);
    write_text(kVendor, info->vendor);
    write_text(kVersion, info->version);
    write_text(kVst3SdkVersion, info->sdk_version);
    return V3_OK;
}

// There is one factory, and it is never deleted.
v3_result query(void* self, const v3_tuid iid, void** found) {
    const bool known = v3_tuid_match(iid, v3_funknown_iid) || v3_tuid_match(iid, v3_plugin_factory_iid) ||
                       v3_tuid_match(iid, v3_plugin_factory_2_iid) || v3_tuid_match(iid, v3_plugin_factory_3_iid);
    *found = known ? self : nullptr;
    return known ? V3_OK : V3_NO_INTERFACE;
}

v3_plugin_factory_cpp table() {
    constexpr std::int32_t kUnicode = 1 << 4;
    v3_plugin_factory_cpp table{};
    table.query_interface = query;
    table.ref = [](void*) -> std::uint32_t { return 1; };
    table.unref = [](void*) -> std::uint32_t { return 1; };
    table.v1.get_factory_info = [](void*, v3_factory_info* info) -> v3_result {
        *info = {};
        copy_text(info->vendor, sizeof info->vendor, kVendor);
        info->flags = kUnicode;
        return V3_OK;
    };
    table.v1.num_classes = [](void*) -> std::int32_t { return 1; };
    table.v1.get_class_info = [](void*, std::int32_t index, v3_class_info* info) { return class_info(index, info); };
    table.v1.create_instance = [](void*, const v3_tuid id, const v3_tuid iid, void** instance) -> v3_result {
        *instance = v3_tuid_match(id, kVst3ClassId) ? Plugin::create(iid) : nullptr;
        return *instance ? V3_OK : V3_NO_INTERFACE;
    };
    table.v2.get_class_info_2 = [](void*, std::int32_t index, v3_class_info_2* info) {
        return class_info_2(index, info);
    };
    table.v3.get_class_info_utf16 = [](void*, std::int32_t index, v3_class_info_3* info) {
        return class_info_3(index, info);
    };
    table.v3.set_host_context = [](void*, v3_funknown**) -> v3_result { return V3_NOT_IMPLEMENTED; };
    return table;
}

const v3_plugin_factory_cpp kFactoryTable = table();
const v3_funknown* const kFactory = &kFactoryTable;

}  // namespace
}  // namespace terrain::vst3

#define TERRAIN_EXPORT extern "C" __attribute__((visibility("default")))

TERRAIN_EXPORT const void* GetPluginFactory() { return &terrain::vst3::kFactory; }
#ifdef __APPLE__
TERRAIN_EXPORT bool bundleEntry(void*) { return true; }
TERRAIN_EXPORT bool bundleExit() { return true; }
#else
TERRAIN_EXPORT bool ModuleEntry(void*) { return true; }
TERRAIN_EXPORT bool ModuleExit() { return true; }
#endif
