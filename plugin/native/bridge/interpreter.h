// Which Python runs the engines.
#pragma once

#include <string>

namespace terrain::bridge {

// $LATENT_TERRAIN_PYTHON, else what `terrain plugin install` wrote into the bundle; empty if there is neither.
std::string interpreter();

// The text of a key in a JSON object of texts, such as {"python": "/usr/bin/python3"}; empty if it is not there.
std::string text_in_json(const std::string& json, const std::string& key);

}  // namespace terrain::bridge
