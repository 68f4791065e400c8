// The few functions of ONNX Runtime's C API that player.cpp calls, for machines that have the library but not its
// headers (Python's onnxruntime brings `capi/libonnxruntime.so.*`). The API is a table of functions that only ever
// grows at its end, so that a place in it, the number behind each line, never changes. Who has <onnxruntime_c_api.h>
// uses that instead, with the same names: compile with -DREAL_HEADER.
#pragma once
#include <cstddef>
#include <cstdint>

struct OrtEnv; struct OrtStatus; struct OrtSession; struct OrtSessionOptions; struct OrtRunOptions; struct OrtAllocator;
struct OrtValue; struct OrtTypeInfo; struct OrtTensorTypeAndShapeInfo;
enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE = 11 };

struct OrtApi {
    void* places_0[2];
    const char* (*GetErrorMessage)(const OrtStatus*);  // 2
    OrtStatus* (*CreateEnv)(OrtLoggingLevel, const char* name, OrtEnv**);  // 3
    void* places_4[3];
    OrtStatus* (*CreateSession)(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**);  // 7
    void* places_8[1];
    OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* input_names, const OrtValue* const* inputs,
                      size_t, const char* const* output_names, size_t, OrtValue** outputs);  // 9
    OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);  // 10
    void* places_11[19];
    OrtStatus* (*SessionGetInputCount)(const OrtSession*, size_t*);  // 30
    void* places_31[2];
    OrtStatus* (*SessionGetInputTypeInfo)(const OrtSession*, size_t, OrtTypeInfo**);  // 33
    void* places_34[2];
    OrtStatus* (*SessionGetInputName)(const OrtSession*, size_t, OrtAllocator*, char**);  // 36
    void* places_37[11];
    OrtStatus* (*CreateTensorAsOrtValue)(OrtAllocator*, const int64_t* shape, size_t, ONNXTensorElementDataType,
                                         OrtValue**);  // 48
    void* places_49[2];
    OrtStatus* (*GetTensorMutableData)(OrtValue*, void**);  // 51
    void* places_52[3];
    OrtStatus* (*CastTypeInfoToTensorInfo)(const OrtTypeInfo*, const OrtTensorTypeAndShapeInfo**);  // 55
    void* places_56[4];
    OrtStatus* (*GetTensorElementType)(const OrtTensorTypeAndShapeInfo*, ONNXTensorElementDataType*);  // 60
    OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t*);  // 61
    OrtStatus* (*GetDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t*, size_t);  // 62
    void* places_63[1];
    OrtStatus* (*GetTensorShapeElementCount)(const OrtTensorTypeAndShapeInfo*, size_t*);  // 64
    OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo**);  // 65
    void* places_66[12];
    OrtStatus* (*GetAllocatorWithDefaultOptions)(OrtAllocator**);  // 78
    void* places_79[17];
    void (*ReleaseValue)(OrtValue*);  // 96
};
struct OrtApiBase {
    const OrtApi* (*GetApi)(uint32_t version);
    const char* (*GetVersionString)();
};
extern "C" const OrtApiBase* OrtGetApiBase();
