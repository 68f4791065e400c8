// Plays an exported instrument: player instrument.onnx FRAMES > audio.f32 (float32; of each frame one channel after the
// other). Its noise is uniform, which suits the built-in decoder; what a RAVE wants, the export's README says.
// A circle in x and y, full pressure; one frame a call. States begin as zeros; each `name_out` goes in again as `name`.
#ifdef REAL_HEADER
#include <onnxruntime_c_api.h>
#else
#include "ort.h"
#endif
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static const OrtApi* api = OrtGetApiBase()->GetApi(17);
static void check(OrtStatus* status) {
    if (status) { std::fprintf(stderr, "%s\n", api->GetErrorMessage(status)); std::exit(1); }
}
static float random_value() {
    static uint32_t x = 1;
    return float((x = x * 1664525u + 1013904223u) >> 8) / 16777216.0f;
}

int main(int, char** arguments) {
    OrtEnv* env; OrtSessionOptions* options; OrtSession* session; OrtAllocator* allocator; size_t count;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "player", &env));
    check(api->CreateSessionOptions(&options));
    check(api->CreateSession(env, arguments[1], options, &session));
    check(api->GetAllocatorWithDefaultOptions(&allocator));
    check(api->SessionGetInputCount(session, &count));
    std::vector<std::string> names, outputs{"audio"};
    std::vector<OrtValue*> inputs(count);
    std::vector<size_t> sizes(count);
    for (size_t i = 0; i < count; ++i) {  // every input as zeros, for one frame
        char* name; OrtTypeInfo* type; const OrtTensorTypeAndShapeInfo* info;
        ONNXTensorElementDataType kind; size_t axes; void* data;
        check(api->SessionGetInputName(session, i, allocator, &name));
        check(api->SessionGetInputTypeInfo(session, i, &type));
        check(api->CastTypeInfoToTensorInfo(type, &info));
        check(api->GetTensorElementType(info, &kind));
        check(api->GetDimensionsCount(info, &axes));
        std::vector<int64_t> shape(axes);
        check(api->GetDimensions(info, shape.data(), axes));
        sizes[i] = 1;
        for (int64_t& n : shape) sizes[i] *= size_t(n = n < 0 ? 1 : n);
        check(api->CreateTensorAsOrtValue(allocator, shape.data(), axes, kind, &inputs[i]));
        check(api->GetTensorMutableData(inputs[i], &data));
        std::memset(data, 0, sizes[i] * (kind == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE ? 8 : 4));
        names.push_back(name);
        if (names[i] != "coordinates" && names[i] != "pressure" && names[i] != "noise")
            outputs.push_back(names[i] + "_out");
    }
    std::vector<const char*> in, out;
    for (auto& name : names) in.push_back(name.c_str());
    for (auto& name : outputs) out.push_back(name.c_str());
    for (int frame = 0, frames = std::atoi(arguments[2]); frame < frames; ++frame) {
        for (size_t i = 0; i < count; ++i) {
            float* data; check(api->GetTensorMutableData(inputs[i], (void**)&data));
            for (size_t n = 0; n < sizes[i]; ++n) {
                if (names[i] == "coordinates")
                    data[n] = float(0.5 + 0.3 * std::sin(0.05 * frame + 1.5707963 * double(n)));
                if (names[i] == "pressure") data[n] = 1.0f;
                if (names[i] == "noise") data[n] = random_value();
            }
        }
        std::vector<OrtValue*> results(out.size(), nullptr);
        check(api->Run(session, nullptr, in.data(), inputs.data(), count, out.data(), out.size(), results.data()));
        float* audio; OrtTensorTypeAndShapeInfo* info; size_t samples;
        check(api->GetTensorMutableData(results[0], (void**)&audio));
        check(api->GetTensorTypeAndShape(results[0], &info));
        check(api->GetTensorShapeElementCount(info, &samples));
        std::fwrite(audio, 4, samples, stdout);
        api->ReleaseValue(results[0]);
        for (size_t i = 0, next = 1; i < count; ++i)
            if (next < out.size() && names[i] + "_out" == outputs[next]) {
                api->ReleaseValue(inputs[i]);
                inputs[i] = results[next++];
            }
    }
}
