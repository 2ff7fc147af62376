// Elements of a type known at run time: their addresses, and rows of them as floats.
#pragma once

#include "kernels/abi/element.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

RAPT_INLINE std::int64_t size_of(ElementType type) {
  return type == ElementType::f32 ? 4 : type == ElementType::i8 ? 1 : 2;
}

/// The element `offset` elements after `base`.
RAPT_INLINE const void* element_at(const void* base, ElementType type, std::int64_t offset) {
  return static_cast<const char*>(base) + offset * size_of(type);
}
RAPT_INLINE void* element_at(void* base, ElementType type, std::int64_t offset) {
  return static_cast<char*>(base) + offset * size_of(type);
}

/// Calls use(p) with p as a pointer to elements of their type, which is that of a tensor: not
/// bytes.
template <class F>
RAPT_INLINE auto with_elements(const void* p, ElementType type, const F& use) {
  if (type == ElementType::bf16) return use(static_cast<const Bf16*>(p));
  if (type == ElementType::f16) return use(static_cast<const F16*>(p));
  return use(static_cast<const float*>(p));
}

/// Likewise for elements of packed pages, of any type.
template <class F>
RAPT_INLINE auto with_page_elements(const void* p, ElementType type, const F& use) {
  if (type == ElementType::i8) return use(static_cast<const std::int8_t*>(p));
  return with_elements(p, type, use);
}

template <class T>
RAPT_INLINE void widen(const T* from, std::int64_t count, float* to) {
  std::int64_t i = 0;
  for (; i + kVecLanes <= count; i += kVecLanes) store(to + i, load(from + i));
  for (; i < count; ++i) to[i] = widened(from[i]);
}

template <class T>
RAPT_INLINE void narrow(const float* from, std::int64_t count, T* to) {
  std::int64_t i = 0;
  for (; i + kVecLanes <= count; i += kVecLanes) store(to + i, load(from + i));
  for (; i < count; ++i) narrow(from[i], to[i]);
}

/// to = from, as floats. Out of line: it is inlined into many rare paths otherwise.
RAPT_NOINLINE inline void widen_row(const void* from, ElementType type, std::int64_t count,
                                    float* to) {
  with_page_elements(from, type, [&](const auto* p) { widen(p, count, to); });
}

/// to = from, each rounded once.
RAPT_NOINLINE inline void narrow_row(const float* from, std::int64_t count, ElementType type,
                                     void* to) {
  if (type == ElementType::bf16) return narrow(from, count, static_cast<Bf16*>(to));
  if (type == ElementType::f16) return narrow(from, count, static_cast<F16*>(to));
  narrow(from, count, static_cast<float*>(to));
}

inline void widen_rows(const ConvertArgs& args) {
  for (std::int64_t r = 0; r < args.rows; ++r) {
    widen_row(element_at(args.from, args.type, r * args.from_stride), args.type, args.width,
              static_cast<float*>(args.to) + r * args.to_stride);
  }
}

inline void narrow_rows(const ConvertArgs& args) {
  for (std::int64_t r = 0; r < args.rows; ++r) {
    narrow_row(static_cast<const float*>(args.from) + r * args.from_stride, args.width, args.type,
               element_at(args.to, args.type, r * args.to_stride));
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
