"""The vocabulary of the story generator: who, what, where, and the small facts plots are made of."""

ANIMALS = """fox cat dog rabbit bear mouse owl frog turtle duck hedgehog squirrel lion elephant monkey
penguin wolf deer pony sheep goat pig cow hen kitten puppy tiger giraffe zebra panda koala otter
beaver badger mole crow robin sparrow swan goose parrot snail bee ant butterfly ladybug spider
cricket firefly whale dolphin octopus crab seal fish shark starfish seahorse lizard crocodile snake
dragon unicorn donkey camel kangaroo raccoon bat moth worm caterpillar lamb chick duckling piglet
foal hamster peacock flamingo pelican seagull eagle hawk moose hippo rhino gorilla leopard cheetah
walrus toad newt salmon lobster jellyfish beetle chipmunk weasel ferret llama alpaca yak buffalo
dinosaur phoenix griffin horse bird bunny sloth lemur meerkat ostrich toucan woodpecker""".split()
PEOPLE = """girl boy king queen prince princess wizard witch knight pirate farmer baker sailor
shepherd gardener fisherman giant fairy elf gnome mermaid clown painter dancer teacher doctor miller
woodcutter explorer inventor cook tailor magician astronaut musician goblin troll grandmother
grandfather captain carpenter beekeeper librarian potter dwarf ghost child singer king's_cook
snowman scarecrow postman firefighter nurse shoemaker clockmaker blacksmith juggler poet""".split()
VEHICLES = """train boat truck car bus tractor ship rocket airplane balloon bicycle tugboat wagon
submarine helicopter sled tram taxi canoe spaceship digger crane steamboat scooter lorry""".split()
OBJECTS = """robot kite lamp teapot clock star cloud tree flower pumpkin snowflake leaf stone button
spoon candle book umbrella drum violin bell doll toy pencil shoe hat sock mitten moon raindrop
acorn seed apple carrot potato mushroom cupcake cookie lighthouse windmill bridge house castle
mirror broom kettle key puppet trumpet flute guitar piano pillow blanket lantern feather shell
pebble marble ball cup chair table door ladder box basket bottle coin crown ring bucket shovel
paintbrush crayon wheel anchor sunflower rose cactus daisy river mountain island rainbow snowball
icicle pancake pie muffin bun toaster oven fridge sandwich banana pear cherry lemon onion""".split()
# An object that somebody can own, lose, break and share.
THINGS = """kite lamp teapot drum violin bell doll button spoon book umbrella hat mitten lantern
feather shell marble ball cup basket ring coin crown paintbrush flute trumpet whistle scarf blanket
compass map key toy_boat music_box wooden_horse glass_bead teddy_bear pocket_watch ribbon
magnifying_glass paper_bird spinning_top wooden_spoon snow_globe""".split()
THING_ADJECTIVES = "red blue green yellow shiny golden silver old little round wooden striped".split()
ADJECTIVES = """little small young brave curious shy kind clever lazy happy lonely gentle cheerful
quiet funny grumpy silly proud tiny big old sleepy hungry friendly careful playful stubborn
forgetful greedy timid clumsy dreamy patient noisy wise white grey brown black red blue green golden
silver purple fluffy spotty round wooden rusty""".split()
PLAIN = "little small young tiny".split()
HELPER_ADJECTIVES = "old wise kind small cheerful friendly grey clever gentle plump tiny quiet".split()
HE = """Tom Max Ben Leo Sam Finn Oscar Jack Toby Milo Hugo Otto Felix Theo Pip Bruno Rusty Bramble
Gus Barney Alfie Jasper Rufus Moss Ned Biscuit Pepper Fergus Oliver Henry Arlo Basil Noah Kofi Ravi
Emil Anton Hector Wilbur Dash""".split()
SHE = """Lily Mia Anna Rosie Daisy Luna Ella Ruby Nina Poppy Willow Hazel Tilly Clara Ivy Maya Zoe
Molly Bella Penny Olive Greta Sophie Nora Amara Priya Freya Juno Dora Flora Fern Clover Maple
Pearl Tess Wren Heidi Mabel Sally Elsie""".split()
PLACES = [tuple(line.split(" ", 1)) for line in """in the forest
in the meadow
by the river
in the valley
on the hill
by the sea
near the lake
in the village
on the farm
in the garden
at the edge of the woods
on a small island
in the mountains
in the old town
near the pond
in the snowy north
in the orchard
by the harbor
in a green field
in a quiet park
at the foot of a mountain
near the old mill
in the busy city
in the jungle
in the desert
near the castle""".split("\n")]
TIMES = """one sunny morning;one bright morning;one cold morning;one windy day;one rainy afternoon;
one warm summer day;one autumn day;one quiet evening;one spring morning;one foggy morning;
one snowy day;early one morning;one day;one afternoon;one fine day""".replace("\n", "").split(";")
FOODS = """an apple pie;a loaf of warm bread;a basket of berries;a big round cheese;a honey cake;
a pot of soup;a bag of nuts;a plate of pancakes;a sweet melon;a jar of honey;a box of cookies;
a bowl of cherries""".replace("\n", "").split(";")
# What stands in the way, and the ways past it.
OBSTACLES = [
    ("a wide river", ["{They} [hopped|stepped] from stone to stone until {they} reached the other side.",
                      "{They} found a fallen log and used it as a bridge.",
                      "A friendly [duck|otter|beaver] showed {them} a place where the water was shallow."]),
    ("a steep hill", ["{They} climbed slowly, one step at a time, and did not look down.",
                      "{They} went around it by a narrow path full of [flowers|ferns|daisies].",
                      "{They} rested twice on the way up, but {they} did not give up."]),
    ("a dark cave", ["{They} sang a song to feel less afraid, and soon {they} saw light at the other end.",
                     "[Fireflies|Little glowing beetles] lit the way, blinking like tiny lamps."]),
    ("a wall of thorns", ["{They} found a small gap near the ground and crawled through.",
                          "{They} asked the thorns politely, and to {their} surprise the thorns moved aside."]),
    ("a broken bridge", ["{They} mended it with rope and a strong branch.",
                         "{They} laid a long plank over the hole and crossed with great care."]),
    ("a thick fog", ["{They} followed the sound of a far bell.",
                     "{They} waited until the wind blew the fog away."]),
    ("a grumpy troll who guarded the path", [
        "{They} told the troll a joke, and it laughed so hard that it let {them} pass.",
        "{They} gave the troll a [sandwich|cookie|flower], and it smiled for the first time in years."]),
    ("a locked gate", ["{They} found the key under a flat stone.",
                       "A [mouse|beetle] crept through the lock and opened it from inside."]),
    ("a big patch of mud", ["{They} laid branches over the mud and walked across.",
                            "{They} got very dirty, but {they} came out laughing on the other side."]),
    ("a sleeping giant", ["{They} tiptoed past, as quiet as snow.",
                          "{They} waited for a loud snore and ran past before the next one."]),
]
# Where somebody is stuck, what fails, what works.
TRAPS = [
    ("stuck in the deep mud", ["pulled as hard as {he} could, but the mud was too sticky",
                               "tried to dig, but the mud slid back"],
     ["laid a long branch over the mud, and {F} held on tight and was free"]),
    ("caught in a thorny bush", ["tugged at the branches, but the thorns only held tighter"],
     ["bent the branches back one by one until {F} could slip out",
      "used a long stick to lift the thorns away"]),
    ("trapped under a fallen tree", ["pushed the tree, but it did not move at all"],
     ["put a strong stick under the tree, pushed down, and the tree lifted just enough"]),
    ("at the bottom of a deep hole", ["reached down, but the hole was too deep"],
     ["tied some vines together and let them down like a rope",
      "rolled stones into the hole until {F} could climb up on them"]),
    ("on a small rock in the middle of the stream", ["called out, but nobody else came"],
     ["pushed a log into the water so that {F} could float to the shore"]),
    ("tangled in an old net", ["pulled at the net, but the knots became tighter"],
     ["opened the knots slowly, one after the other, until the net fell away"]),
    ("shut inside an empty shed", ["pushed the door, but it was locked"],
     ["found a loose board at the back and pulled it off",
      "found a rusty key on a nail and opened the door"]),
]
# What is made, of what, how it fails, what mends it.
PROJECTS = [
    ("a raft", "logs and rope", "sank as soon as it touched the water", "tied the knots twice as tight"),
    ("a kite", "paper and thin sticks", "fell down again and again", "gave it a long tail"),
    ("a cake", "flour, eggs and honey", "came out as flat as a plate", "stirred more slowly and waited longer"),
    ("a little house", "stones and branches", "fell over in the wind", "put the biggest stones at the bottom"),
    ("a drum", "an old pot and some cloth", "made no sound at all", "pulled the cloth very tight"),
    ("a boat", "wood and old cloth", "leaked like a sieve", "filled every hole with wax"),
    ("a swing", "rope and a wooden board", "hung all crooked", "measured both ropes with care"),
    ("a flying machine", "feathers, wheels and string", "only hopped like a frog", "made the wings longer"),
    ("a warm blanket", "wool of many colors", "had a big hole in the middle", "started again with smaller loops"),
    ("a lantern", "glass and tin", "would not stay lit", "made a little roof to keep out the wind"),
    ("a bridge", "planks and nails", "broke in the middle", "put a strong post under it"),
    ("a snow fort", "snow and ice", "melted on one side", "built it again in the shade"),
]
SKILLS = [
    ("sing", "sounded like a squeaky door", "breathe deeply and listen first"),
    ("dance", "tripped over everything", "count to three and feel the music"),
    ("swim", "splashed and sank", "kick gently and trust the water"),
    ("whistle", "made only a puff of air", "make a small round mouth"),
    ("paint", "made nothing but brown spots", "wait until one color is dry"),
    ("juggle", "dropped every single ball", "begin with only one ball"),
    ("skate", "slid on the ice and fell", "bend the knees and look ahead"),
    ("climb", "slipped down again and again", "find a safe place for each step"),
    ("play the flute", "scared all the birds away", "blow softly, like a summer wind"),
    ("read", "mixed up all the letters", "say one sound at a time"),
    ("jump", "landed in every puddle", "look at the place where you want to land"),
    ("tell jokes", "forgot the funny part", "wait a moment before the last word"),
]
FEARS = [
    ("the dark", "at night, when the lamps went out, {F} was still outside and could not find the way home",
     "walked into the night, saying, \"The dark is only the day with its eyes closed.\"",
     "saw that the night was full of [stars|soft sounds|gentle shadows]"),
    ("water", "{F} slipped and fell into the stream",
     "took a deep breath and waded in, one step and then another",
     "found that the water was cool and friendly"),
    ("thunder", "in the middle of a storm {F} was all alone in the old barn",
     "ran through the rain while the thunder rolled",
     "learned to count between the flash and the boom"),
    ("high places", "{F} was stuck at the top of a tall tower",
     "climbed up, looking only at the next step",
     "could see the whole world from up there, and it was beautiful"),
    ("strangers", "a stranger was the only one who knew where {F} had gone",
     "said in a small voice, \"Excuse me, can you help me?\"",
     "found that a stranger is often a friend you do not know yet"),
    ("loud noises", "{F} was lost at the noisy market and could not hear anyone calling",
     "walked right through the crowd and the drums and the shouting",
     "began to hear a kind of music in all that noise"),
    ("the deep forest", "{F} did not come back from the deep forest",
     "walked under the tall trees, humming a little song",
     "found that the forest was full of kind eyes"),
]
HIDING = [
    ("under a pile of leaves", "The wind had blown leaves all over it."),
    ("in an old boot", "A [mouse|beetle] had rolled it there to keep it safe."),
    ("high up in a nest", "A magpie had taken it because it was so pretty."),
    ("at the edge of the pond", "It had rolled down the hill all by itself."),
    ("behind the big door", "It had been there the whole time!"),
    ("in a hollow tree", "A squirrel had thought it was a nut."),
    ("under the bed", "It had simply slipped off the blanket."),
    ("on top of the well", "Somebody kind had found it and put it there."),
    ("in the long grass", "It had fallen out during a game."),
    ("in the hay", "A sleepy hen was sitting on it."),
]
MYSTERIES = [
    ("a strange sound: tap, tap, tap", "a woodpecker making a new home", "I am sorry for the noise. I only wanted a nest"),
    ("small wet footprints on the floor", "a duckling looking for its mother", "I cannot find my mother"),
    ("that the berries were gone", "a very hungry hedgehog", "I was so hungry after my long sleep"),
    ("a soft light that moved between the trees", "a firefly who had lost its friends", "I am shining so that my friends can see me"),
    ("a low moan in the night", "the wind blowing over an empty bottle", ""),
    ("that the spoons were missing", "a crow who loved shiny things", "They are so pretty that I could not stop"),
    ("little crumbs all over the path", "an ant family carrying a cake", "It is for our queen's birthday"),
    ("a song that came from the well", "a frog who loved the echo", "Down here my voice sounds so big"),
    ("colored spots on the wall", "a child practising with paint", "I wanted to make the wall happy"),
    ("a big shadow on the hill", "a lonely old donkey", "Nobody ever comes to see me"),
]
WISHES = [
    ("to be as big as a house", "could not fit through the door anymore", "to be just the right size again"),
    ("for a mountain of sweets", "got a terrible stomach ache", "for a simple bowl of soup"),
    ("that it would be summer forever", "saw the flowers turn dry and sad", "for rain, and autumn, and snow"),
    ("never to sleep again", "grew so tired that everything looked gray", "for one good long sleep"),
    ("to be invisible", "found that nobody could see a smile or a wave", "to be seen again"),
    ("that everyone would do as {he} said", "found that nobody wanted to play freely anymore", "for real friends again"),
    ("for a castle full of gold", "had nobody to talk to in the big cold halls", "to be back in the cozy little home"),
    ("to fly higher than the clouds", "felt cold and alone up there", "to come down safely"),
]
NEEDS = [
    ("a flower that only grows on the mountain", "was ill and needed medicine", "After one cup of flower tea, {F} felt better"),
    ("the lost bell of the village", "could not sleep without its gentle ring", "When the bell rang again, everyone cheered"),
    ("a drop of water from the silver spring", "had a garden that was dying", "The next morning the garden was green again"),
    ("the warm stone from the fire cave", "was shivering in the cold", "Soon the whole house was warm"),
    ("a song that nobody remembered", "had forgotten how to smile", "When {F} heard the song, {fhe} smiled at once"),
    ("the golden feather", "needed it to finish a very old story", "With the feather, {F} wrote the end of the story"),
    ("a star that had fallen into the sea", "missed its light at night", "That night the sky was whole again"),
]
EMOTIONS = {
    "sad": ["sad", "very sad", "unhappy", "gloomy"],
    "happy": ["happy", "very happy", "glad", "full of joy", "delighted"],
    "afraid": ["afraid", "scared", "frightened", "worried"],
}
