// Everything of Rapt in one include.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/attention_state.hpp"
#include "rapt/error.hpp"
#include "rapt/isa.hpp"
#include "rapt/kv_cache.hpp"
#include "rapt/linear.hpp"
#include "rapt/mask.hpp"
#include "rapt/multi_head_attention.hpp"
#include "rapt/paged.hpp"
#include "rapt/ragged.hpp"
#include "rapt/rms_norm.hpp"
#include "rapt/rope.hpp"
#include "rapt/score_callback.hpp"
#include "rapt/tensor.hpp"
#include "rapt/version.hpp"
#include "rapt/weights_file.hpp"
