"""Plot skeletons. A plot is a list of steps:

  "text"          always told
  (0.6, "text")   told with that probability (scaled by the wanted length)
  ["a", "b", ...] some of these, in any order
  PAR             a place where a new paragraph may begin

In a text `[a|b]` is a choice (nested if need be) and `{key}` an entity: H hero, he/him/his/himself
the hero's pronouns, F friend, fhe/fhim/fhis the friend's, f_new the friend when first met, P the
place, in_P with its preposition, O the thing, food, and the plot's own facts. Case at the start of
a sentence and a/an are put right afterwards.

The first member of a plot is a list of ways to ask for it ("... about a fox who REQUEST").
"""

PAR = object()

FIND_WAY = "{obstacle_1}"

PLOTS = {
    "lost_thing": dict(
        thing=True,
        ask=["who lost {his} {O}", "who loses a {O}", "and a lost {O}", "who is looking for a {O}"],
        steps=[
            "{H} had a {O} that {he} loved [very much|more than anything|dearly]. "
            "[{he} took it everywhere.|{he} played with it every day.|It was a present from {his} grandmother.|"
            "Every night {he} put it next to {his} bed.|]",
            "[But {t}, the {o} was gone|{t}, {H} woke up and the {o} was gone|Then {t}, {he} could not find the {o}]"
            "[!|.] [\"Oh no! Where is my {o}?\" cried {H}.|\"Where can it be?\" {he} asked.|{H} felt {sad}.|]",
            PAR,
            ["{he} looked [under the table|behind the house|in the tall grass|in every corner], but the {o} was not there.",
             "{he} asked {some_1}, but {some_1_the} only shook {some_1_his} head. [\"I have not seen it,\" said {some_1_the}.|]",
             "{he} looked in the [well|barn|old cart|flower pots], and found only [a spider|an old shoe|some dust|a sleepy cat]."],
            (0.6, "{H} sat down and [began to cry|sighed|wanted to give up]. A tear [fell|rolled] [into the grass|down {his} cheek]."),
            "Then {f_new} came by. \"[Why are you so sad|What is the matter|What happened]?\" asked {F}. "
            "\"[I lost my {o}|My {o} is gone|I cannot find my {o}],\" said {H}. \"[Let us look together|I will help you|Two can look better than one],\" said {F}.",
            (0.6, "[{They} looked high and low.|{They} looked all afternoon.|Together {they} walked back the way {H} had come.|{F} had [sharp eyes|a good nose|a clever plan].]"),
            "[At last|Suddenly|Just before sunset], {F} [called|shouted], \"[Look over there|Here it is|I see something {shiny}]!\" The {o} was {hide}. {hide_why}",
            PAR,
            "{H} [hugged {F}|jumped for joy|laughed out loud] and said, \"[Thank you|Thank you so much|You are a true friend]!\"",
            (0.7, "From that day on, {H} [took better care of the {o}|always put the {o} in a safe place|let {F} play with the {o}, too]."),
        ],
        morals=["a friend is worth more than any {o}", "looking together is better than looking alone"]),
    "lost_way": dict(
        ask=["who got lost", "who cannot find the way home", "who gets lost {in_P}", "who is lost"],
        steps=[
            "{t}, {H} went for a walk {in_P}. [{he} followed a [butterfly|pretty bird|blue dragonfly] and did not look at the path.|"
            "{he} looked at the clouds and forgot the time.|{he} wanted to see what was behind the next [hill|tree|corner].]",
            "[Soon|After a while|When {he} looked around], [everything looked strange|nothing looked the same anymore|{H} did not know where {he} was]. "
            "[\"I am lost,\" {he} whispered.|\"Which way is home?\" {he} asked, but nobody answered.|{he} felt {afraid}.]",
            PAR,
            ["{he} tried the path on the left, but it ended at a [pond|wall|big rock].",
             "It began to get dark, and [the wind was cold|the trees made long shadows|the first star came out].",
             "{he} called for help, but only {his} own echo came back.",
             "{he} climbed on a stone to look around, but saw only [trees|hills|mist]."],
            "Then {he} [met|saw|heard] {f_new}. \"[You look lost|Can I help you|Where do you live], little one?\" asked {F}. "
            "[\"I live far from here, near [the old oak|the red mill|the big white rock],\" said {H}.|\"I do not know the way home,\" said {H}.]",
            "\"[Do not worry|Do not be afraid|Come with me],\" said {F}. \"[I know the way|I know every path here|We will follow the stars|We will follow the stream].\"",
            (0.6, "On the way {they} came to {obstacle}. {pass}"),
            (0.5, "{F} told [funny stories|a story about the moon|many jokes], and {H} forgot to be {afraid}."),
            PAR,
            "[At last|Finally|After a long walk], {they} saw [a warm light in a window|the smoke of a chimney|{H}'s own little door]. [\"Home!\" cried {H}.|{H} was {happy} to be home.]",
            (0.7, "{H} [gave {F} {food}|invited {F} for supper|hugged {F} tightly] and said, \"[Thank you for showing me the way|Please visit me soon|I will never forget this].\""),
        ],
        morals=["it is wise to look at the path", "kind helpers can be found everywhere"]),
    "fear": dict(
        ask=["who is afraid of {fear}", "who was afraid of {fear}", "who learns to be brave"],
        steps=[
            "{H} was afraid of {fear}. [{he} never told anyone about it.|The others sometimes laughed about it.|Every time, {he} hid under the blanket.|]",
            "{his} best friend was {f_new}. [\"Everyone is afraid of something,\" {F} [always|often] said.|{they} did everything together.|{F} was not afraid of anything.]",
            PAR,
            "Then {t}, [something happened|there was trouble]: {fear_need}. [\"Help! Please, somebody help me!\" called {F}.|Nobody else was near.]",
            "{H}'s [heart beat fast|knees shook|voice trembled]. [\"I cannot do it,\" {he} thought. \"But {F} needs me.\"|{he} wanted to run away, but {he} thought of {F}.|\"If I do not go, who will?\" {he} asked {himself}.]",
            "So {H} {fear_do}",
            (0.6, "[Step by step, it became easier.|It was not as bad as {he} had thought.|{he} was still afraid, but {he} kept going.]"),
            PAR,
            "[Soon|At last] {he} found {F} and [brought {fhim} home|led {fhim} to safety|took {fhim} back]. \"[You came|You saved me|You are so brave]!\" said {F}.",
            "And {H} {fear_learn}. [\"I was afraid the whole time,\" {he} said. \"That is what being brave means,\" said {F}.|{he} smiled and felt [taller|lighter|stronger] than before.]",
            (0.5, "After that day, {fear} did not seem so terrible anymore."),
        ],
        morals=["being brave means being afraid and doing it anyway", "love is stronger than fear"]),
    "sharing": dict(
        ask=["who learns to share", "who does not want to share", "who has {food}", "and {food}"],
        steps=[
            "{t}, {H} [found|got|made] {food}. [It smelled wonderful.|It was the best thing {he} had ever seen.|{he} could hardly wait to eat it.] \"[This is all mine|I will eat it all by myself|I will not give any of it away],\" said {H}.",
            ["{some_1} came by and asked for a little piece. \"No,\" said {H}, \"[I have too little|go away|it is mine].\"",
             "{some_2} looked at it with big eyes, but {H} turned around and hid it.",
             "{he} carried it to a secret place, where nobody could see {him}."],
            PAR,
            "Then {f_new} [came along|sat down near {him}|walked by slowly]. {F} [was thin and tired|had not eaten since yesterday|was too shy to ask]. [{fhis} tummy rumbled loudly.|{fhe} only said, \"What a lovely smell.\"|]",
            "{H} looked at the food, and then {he} looked at {F}. [Somehow it did not taste so good anymore.|{he} felt a small pain in {his} heart.|\"It is no fun to eat alone,\" {he} thought.]",
            "\"[Would you like some?|Come, sit with me.|Here, take half of it.]\" {H} [asked|said] [at last|quietly|with a smile]. {F}'s eyes [began to shine|grew big and bright]. \"[Thank you|Oh yes, please|You are very kind],\" {fhe} said.",
            PAR,
            (0.7, "{They} ate together and [talked|laughed|told stories] until [the sun went down|the moon came up|nothing was left but crumbs]."),
            "[It was the best meal {H} had ever had.|\"It tastes better with you,\" said {H}.|And the funny thing was that half of it made {H} twice as happy.]",
            (0.6, "The next day, {F} came back with {food2} and shared it with {H}."),
        ],
        morals=["sharing makes everything taste better", "joy grows when it is shared"]),
    "rescue": dict(
        ask=["who saves a friend", "who rescues {f_new_plain}", "who helps {f_new_plain}", "and a rescue"],
        steps=[
            "{t}, {H} was [walking|playing|resting] {in_P} when {he} heard a [small voice|cry|faint sound]. \"[Help! Help|Is anybody there|Please help me]!\" it said.",
            "{H} [followed the sound|looked around|hurried to the place] and found {f_new}, {trap}. [\"I have been here all night,\" said {F}.|\"I cannot get out,\" said {F} with tears in {fhis} eyes.|{F} was {afraid} and cold.]",
            PAR,
            "\"Do not worry, I will help you,\" said {H}. First {he} {trap_fail}. [\"It does not work,\" {he} said.|Nothing happened.|]",
            (0.6, "{he} asked {some_1} for help, [but {some_1_the} was too busy|and {some_1_the} came at once|but {some_1_the} did not know what to do]."),
            (0.6, "{H} sat down and thought [hard|for a long time]. [\"I must be clever, not strong,\" {he} said.|Then {he} had an idea.]"),
            "Then {he} {trap_work}. [\"Hooray!\" they both shouted.|\"You did it!\" cried {F}.|At last {F} was free.]",
            PAR,
            "\"[How can I thank you|You saved me|You are a hero],\" said {F}. \"[You do not have to thank me|You would do the same for me|Be my friend, that is enough],\" said {H}.",
            (0.7, "[{F} gave {him} {food}.|That evening {they} had supper together.|From then on {they} met every day {in_P}.|Everybody heard about it, and {H} blushed.]"),
        ],
        morals=["a good idea can be stronger than strong arms", "it is good to listen when somebody calls for help"]),
    "making": dict(
        ask=["who builds {project}", "who wants to make {project}", "and {project}", "who makes {project}"],
        steps=[
            "{t}, {H} had an idea. \"[I want to make {project}|I am going to make {project}|Today I will make {project}]!\" {he} said. [{he} had dreamed of it for a long time.|Nobody {in_P} had ever done that before.|]",
            "{he} [collected|gathered|looked for] {materials} and worked [all morning|the whole day|until {his} back hurt]. [{he} hummed a little song.|It was not easy.|]",
            "But {project_the} {project_fail}. [\"Oh dear,\" said {H}.|{H} was {sad}.|\"What did I do wrong?\" asked {H}.]",
            PAR,
            (0.6, "{some_1} laughed and said, \"[You will never do it.|Why do you not give up?|That looks very silly.]\" [But {H} did not listen.|That made {H} want to try even more.|]"),
            "{f_new} [was watching|came to see|had heard the noise]. \"[Do not give up|Every maker makes mistakes|Let me help you],\" said {F}. \"[Let us try it again.|Try it once more.|What have you learned from it?]\"",
            "So {they} tried again. This time {H} {project_fix}. [{F} held everything in place.|{F} gave good advice.|They worked side by side.]",
            (0.5, "{They} tried once, twice, three times. [Each time it was a little better.|Slowly it began to work.]"),
            PAR,
            "[And then|At last|When the sun was low], it worked! [{project_the} was perfect.|{project_the} was not perfect, but it was wonderful.|\"We did it!\" cried {H} and {F}.]",
            (0.7, "[Everyone came to see it.|They showed it to everyone {in_P}.|Even {some_1} who had laughed wanted to [try it|have one|learn how to do it].]"),
        ],
        morals=["those who try again will get there in the end", "mistakes are good teachers"]),
    "wish": dict(
        ask=["who makes a wish", "who finds a magic {O}", "and a magic {O}", "who gets a wish"],
        thing=True,
        steps=[
            "{t}, {H} found a {O} {in_P}. [It glowed softly.|It was warm to the touch.|It looked very old.] When {he} touched it, a [voice|tiny voice|deep voice] said, \"[I am a magic {o}. You may make one wish|Make a wish, and it will come true|I can grant you a wish].\"",
            "{H} thought [for a moment|about it all day]. Then {he} wished {wish}. [There was a flash of light.|The {o} sparkled.|Puff! The air smelled of cinnamon.] And it came true!",
            PAR,
            "[At first it was great fun.|At first {H} was {happy}.|For a while everything was wonderful.] [But soon|But then] {he} {wish_bad}. [\"This is not what I wanted,\" {he} said.|{he} felt {sad} and alone.|]",
            "{his} friend {f_bare} came to look for {him}. \"[What have you done|Why are you so unhappy|What did you wish for]?\" asked {F}. {H} told {fhim} everything.",
            (0.7, "\"[Perhaps the {o} can help again|Every magic has a way back|Say it with your whole heart],\" said {F}."),
            "So {H} [held the {o} tightly|closed {his} eyes|whispered to the {o}] and wished {wish_undo}. [For a moment nothing happened. Then|There was a soft sound, and|The {o} shone one last time, and] everything was as before.",
            PAR,
            "[\"I am so glad,\" said {H}. \"I had everything already.\"|{H} hugged {F} and laughed.|{H} looked around and was {happy} about every little thing.]",
            (0.6, "{They} [put the {o} back where it came from|buried the {o} under a tree|threw the {o} into the deep lake], [and nobody ever found it again|so that it could rest|and went home]."),
        ],
        morals=["one should be careful with wishes", "the best things cannot be wished for"]),
    "race": dict(
        ask=["who wants to win a race", "who runs in a race", "and a race", "who takes part in a contest"],
        steps=[
            "{t}, there was a great race {in_P}. Everyone wanted to win [a golden cup|a big cake|a shiny medal]. {H} [wanted to race, too|had practised for weeks|was small, but {he} wanted to try].",
            "{some_1} [laughed|boasted]. \"[Nobody is as fast as me|You will never win|I will win before you even start],\" said {some_1_the}. {H} [said nothing|only smiled|felt {sad}, but did not go away].",
            PAR,
            "\"One, two, three, go!\" [Off they went.|Everybody ran as fast as they could.|The race began.] [{some_1_the} was far ahead.|{H} was among the last.|{H} was doing very well.]",
            (0.6, "First they came to {obstacle_bare}, [but {H} did not slow down|and {H} passed it with care|where many had to stop]."),
            "[Suddenly|Halfway to the end] {H} saw {f_new} lying next to the path. \"[I hurt my foot|I fell and cannot get up|I feel so dizzy],\" said {F}. [{H} looked at the finish line, and then at {F}.|\"If I stop, I will lose,\" thought {H}.|]",
            "{H} [stopped|turned around] and helped {F} [to get up|to stand]. \"[Lean on me|We will go together|Come, I will carry you],\" {he} said.",
            (0.5, "[{some_1_the} ran past them and laughed.|The others rushed by in a cloud of dust.]"),
            PAR,
            "[{They} were the last to arrive, but everyone clapped.|{They} came last, hand in hand.|When {they} arrived, {some_1_the} already had the prize.] [The judge|The old mayor|The queen of the race] said, \"[There is another prize today, a prize for kindness|You lost the race, but you won our hearts|The real winner is the one who stopped].\"",
            (0.7, "{H} was {happy}, and {F} [became {his} best friend|never forgot it|cheered the loudest]."),
        ],
        morals=["kindness is worth more than winning", "nobody is really last who walks with a friend"]),
    "new_friend": dict(
        ask=["who is lonely", "who finds a friend", "who makes a new friend", "who wants a friend"],
        steps=[
            "{H} [was very lonely|had no friends|often played alone]. [{he} talked to the clouds and to the stones.|The others were always busy.|\"I wish I had a friend,\" {he} said every evening.]",
            (0.5, "{he} asked {some_1} to play, but {some_1_the} said, \"[Not today|I have no time|You are too {small}].\""),
            PAR,
            "{t}, {f_new} [came to live nearby|arrived {in_P}|moved into the house next door]. {F} was different from everyone else. [{fhe} talked in a funny way.|{fhe} had never seen such a place before.|{fhe} was very quiet.]",
            "[{H} hid behind a tree and watched.|At first {H} was too shy to say hello.|Some of the others whispered and pointed.] [But {F} looked sad, and {H} knew that feeling well.|Then {he} thought, \"Perhaps {fhe} is lonely, too.\"]",
            "So {H} took {a_gift} and went to {F}. \"[Hello, I am {hname}.|Would you like to play with me?|Welcome!]\" {he} said. {F} [smiled|blushed|was so surprised that {fhe} laughed]. \"[I would love to|I was hoping that somebody would come|You are the first to speak to me],\" {fhe} said.",
            PAR,
            ["{They} played hide and seek until it was dark.",
             "{F} taught {him} a song from far away.",
             "{H} showed {fhim} the best place to watch the stars.",
             "{They} built a tiny house out of sticks."],
            "[Now {H} was not lonely anymore.|From that day on, {they} were always together.|\"I wished for a friend, and you came,\" said {H}. \"So did I,\" said {F}.]",
        ],
        morals=["a friend can begin with one small hello", "those who are different can be the best of friends"]),
    "honesty": dict(
        ask=["who tells a lie", "who breaks a {O}", "who learns to tell the truth", "and a broken {O}"],
        thing=True,
        steps=[
            "{H} lived with {f_new}, who had a beautiful {O}. [\"Please do not touch it,\" {F} always said.|It stood on a high shelf.|{F} loved it very much.]",
            "{t}, when {F} was away, {H} [wanted to look at it just once|played too close to it|could not wait any longer and took it]. Crash! The {o} [fell to the floor and broke|slipped away and broke in two|broke].",
            "{H} was {afraid}. [{he} hid the pieces under the bed.|{he} pushed the pieces behind the door.|{he} put the pieces in a box and buried it.] When {F} came home and asked about the {o}, {H} said, \"[I do not know|It was the wind|It was the cat].\"",
            PAR,
            "But that night {H} could not sleep. [The lie felt like a stone in {his} tummy.|Every sound seemed to say, \"You know, you know.\"|{he} thought about {F}'s sad eyes.]",
            (0.6, "{some_1} was blamed for it, and that [made it even worse|was not fair at all]."),
            "[In the morning|At last|Before sunrise] {H} went to {F}. \"[I must tell you something|I did a bad thing|It was me],\" {he} said. \"I broke the {o}, and then I told a lie. I am so sorry.\"",
            "{F} was quiet for a moment. [Then {fhe} hugged {H}.|Then {fhe} smiled a little.] \"[A {o} can be mended|I am sad about the {o}, but I am proud of you|It takes courage to tell the truth],\" {fhe} said.",
            PAR,
            "[Together they glued the pieces.|They mended it together, piece by piece.] [You could still see the cracks, but {F} liked it even more.|It was never quite the same, but it was good again.|]",
            (0.6, "{H} felt [light as a feather|free again|much better] and slept well that night."),
        ],
        morals=["the truth is lighter to carry than a lie", "it is never too late to tell the truth"]),
    "quest": dict(
        ask=["who goes on an adventure", "who goes on a long journey", "who goes on a quest", "and a long journey"],
        steps=[
            "{H} had a dear friend, {f_bare}. {F} {need_why}. [\"There is only one thing that can help,\" said the old doctor.|\"If only I had the right thing,\" said {F}.] It was {need}.",
            "\"I will find it,\" said {H}. [{he} packed {food} and set off at once.|{he} said goodbye and set off before sunrise.|Everyone said it was too far, but {he} went anyway.]",
            PAR,
            "[First|Before long|After one day] {he} came to {obstacle}. {pass_alone}",
            (0.8, "[Then|Next|Later] there was {obstacle2}. {pass_alone2}"),
            (0.5, "At night {he} slept [under the stars|in a hollow tree|in the soft hay] and [dreamed of home|thought of {F}]."),
            "[At last|On the third day|Finally] {he} met {some_1}. \"[What are you looking for?|Why have you come so far?|Nobody comes here anymore,]\" said {some_1_the}. {H} explained everything. \"[You have a good heart|You came so far for a friend|Then you may have it],\" said {some_1_the}, and gave {him} what {he} needed.",
            PAR,
            "{H} hurried home. [The way back seemed much shorter.|{he} did not stop even once.|]",
            "{need_end}. \"[You went so far for me|Thank you, dear friend|I knew you would come back],\" said {F}.",
        ],
        morals=["for a friend no way is too long", "a brave heart finds a way"]),
    "repay": dict(
        ask=["who is kind to {f_new_plain}", "and {f_new_plain}", "who helps somebody small"],
        steps=[
            "{t}, {H} met {f_new} {in_P}. {F} [was hungry and tired|had fallen on {fhis} back and could not get up|was shivering in the rain]. [Many had passed, but nobody had stopped.|]",
            "{H} [shared {food} with {fhim}|helped {fhim} at once|gave {fhim} a warm place to rest]. \"[One day I will help you, too|I will not forget this|I will pay you back],\" said {F}. [{H} laughed. \"You are so small! How could you help me?\"|\"There is no need,\" said {H} kindly.|]",
            PAR,
            "Many days later, {H} was in trouble. [{he} had fallen into a deep hole.|{he} was caught in a strong net.|A great storm had taken {his} roof away.|{he} had lost {his} way in the snow.] [{he} called and called, but nobody came.|\"Now nobody can help me,\" {he} thought.]",
            "But {F} heard {him}. [{fhe} came as fast as {fhe} could.|{fhe} called all {fhis} friends and cousins.|\"I am coming!\" {fhe} called.]",
            ["[{F} worked all night long without a rest.|{F} pulled and pushed and did not give up.]",
             "[{F}'s many friends helped, each one a little.|Soon there were ten of them, and then twenty.]",
             "\"[Hold on|Be patient|Do not be afraid],\" said {F}, \"[we are nearly done|I know what to do|I am here].\""],
            "[In the morning|Soon|In the end] {H} was safe. [\"I was wrong,\" said {H}. \"You are small, but you are a great friend.\"|\"You kept your promise,\" said {H}.|{H} did not know what to say, and hugged {F}.]",
            PAR,
            (0.7, "After that {they} [visited each other every week|were friends for the rest of their lives|always looked after each other]."),
        ],
        morals=["no kind deed is too small", "even the smallest friend can be a great help"]),
    "storm": dict(
        ask=["and a big storm", "who lives through a storm", "in a storm", "who helps everyone in a storm"],
        steps=[
            "{t}, the sky {in_P} turned [dark|black|gray and green]. [\"A storm is coming!\" cried {some_1}.|The wind began to howl.|The birds stopped singing.] {H} [closed all the windows|looked up and shivered|knew that there was not much time].",
            ["{he} carried [the toys|the firewood|the flower pots] inside.",
             "{he} ran from door to door and called, \"Come in, come in! A storm is coming!\"",
             "{he} tied everything down with strong rope."],
            "Then it began. [Rain fell in buckets.|Thunder rolled over the hills.|The wind shook every tree.] [Suddenly|In the middle of it all] {H} heard [a knock at the door|a weak voice outside]. It was {f_new}, wet and cold. \"[My home has blown away|Please let me in|I have nowhere to go],\" said {F}.",
            PAR,
            "\"[Come in quickly|Of course, come in|There is always room for one more],\" said {H}. [{he} made a fire and hot soup.|{he} gave {fhim} a blanket and a cup of tea.] [{F} stopped shivering and smiled.|]",
            (0.7, "Soon {some_1} came, and then {some_2}, until the little room was full. [Nobody could move, but everyone was warm.|They told stories to forget the thunder.|They sang so loudly that they could not hear the storm.]"),
            "[In the morning|At dawn] the storm was over. [The sun shone on the wet leaves.|There was a rainbow over the hills.|Everything was washed and bright.]",
            PAR,
            "[Together they built a new home for {F}.|Everyone helped {F} to build a new home.|\"You can stay with me,\" said {H} to {F}.] [It was even better than the old one.|And it stood right next to {H}'s home.|]",
        ],
        morals=["after every storm the sun comes back", "a small house has room for many friends"]),
    "birthday": dict(
        ask=["and a birthday party", "who has a birthday", "and a surprise", "who gets a surprise"],
        steps=[
            "It was {H}'s birthday. [{he} woke up early and could hardly wait.|{he} put on {his} best hat and waited.] [But nobody came.|But nobody said anything.|]",
            ["{he} met {some_1}, but {some_1_the} only said, \"[Nice weather today|I am in a hurry|Good morning],\" and went on.",
             "{he} saw {some_2} carrying a big box, but {some_2_the} quickly hid it.",
             "{he} looked into the mailbox, but it was empty."],
            "{H} was {sad}. \"[They have all forgotten my birthday|Nobody thinks of me],\" {he} said. {he} went [to the river|up the hill|home] and sat down [alone|under a tree].",
            PAR,
            "Then {f_new} came running. \"[Come quickly|You must come with me|I need your help],\" said {F}. [\"What is it?\" asked {H}, but {F} did not answer.|{fhe} looked very [serious|excited].|]",
            "{They} went {in_P}. It was [dark and quiet|very still]. [Then lights came on everywhere.|Then somebody giggled.] \"Surprise!\" [shouted everyone|cried all the friends]. [There were lanterns, music and a huge cake.|There was a table full of food.]",
            PAR,
            "\"[We have been planning it for weeks!|We could not tell you, it was a secret!|Did you think we had forgotten you?]\" [laughed|said] {F}. {H} [laughed and cried at the same time|did not know what to say|was {happy}].",
            (0.7, "{F} gave {him} {a_gift}. [\"I made it myself,\" {fhe} said.|It was just what {he} had wanted.]"),
            (0.6, "They [danced|sang|played] until [the moon was high|midnight|the last candle went out]."),
        ],
        morals=["good friends do not forget", "the best surprises need a little patience"]),
    "skill": dict(
        ask=["who wants to learn to {skill}", "who cannot {skill}", "who learns to {skill}", "who loves to {skill}"],
        steps=[
            "More than anything, {H} wanted to learn to {skill}. [But whenever {he} tried, {he} {skill_bad}.|{he} tried every day, but {he} {skill_bad}.] [\"I will never learn it,\" said {H}.|Some laughed at {him}.|]",
            (0.6, "{some_1} said, \"[You are too {small} for that.|That is nothing for you.|Why do you not do something else?]\" {H} was {sad}."),
            PAR,
            "{t}, {he} met {f_new}, who could {skill} [very well|better than anyone|like nobody else]. \"[Will you teach me|How do you do it|Can you show me]?\" asked {H}. \"[Of course|It is not hard|Everyone begins small],\" said {F}. \"You must {skill_tip}.\"",
            ["{they} practised [every morning|every evening|in the rain and in the sun].",
             "It went wrong [ten|twenty|a hundred] times, [but {F} was patient|but {he} laughed about it and tried again].",
             "Some days {he} wanted to give up. \"[Just once more|You are getting better],\" said {F}."],
            "[Then one day|Slowly, slowly|And all at once] it worked. [\"Look at me! I can {skill}!\" cried {H}.|{H} could {skill}!|{F} clapped. \"I knew you could do it!\"]",
            PAR,
            (0.8, "At the [summer|spring|harvest] feast {H} showed everyone what {he} had learned. [They clapped and clapped.|Nobody laughed now.|Even {some_1} asked {him} for a lesson.]"),
            (0.6, "[\"Now I will teach somebody else,\" said {H}.|{H} thanked {F} from the bottom of {his} heart.]"),
        ],
        morals=["practice makes the master", "everyone who can do it well was once a beginner"]),
    "mystery": dict(
        ask=["who solves a mystery", "and a mystery", "who is a detective", "who hears a strange sound"],
        steps=[
            "{t}, {H} noticed {clue}. [\"How strange,\" {he} said.|\"I must find out what that is,\" {he} said.|{he} had never noticed such a thing before.] {he} [took a lamp|put on {his} hat|got {his} notebook] and went to {his} friend {f_bare}.",
            "\"[Perhaps it is a ghost|Perhaps it is a monster|It must be a giant],\" [whispered|said] {F}. \"[Let us find out|There is no such thing|We will see],\" said {H}.",
            PAR,
            ["{they} asked {some_1}, who [knew nothing|pointed to the old barn|had heard about it, too].",
             "{they} hid behind a [barrel|bush|wall] and waited [until midnight|for a long time].",
             "{They} found [a feather|a small button|some crumbs|a scratch on the door]. \"A clue!\" said {F}.",
             "{F} made a list of everyone it could be. [It was a very long list.|]"],
            "Then [suddenly|at last] {they} saw it. It was not a monster at all. It was {culprit}!",
            PAR,
            "{culprit_says}[{H} and {F} looked at each other and laughed.|\"And we were so {afraid}!\" laughed {F}.|\"So that is all!\" said {H}.]",
            (0.8, "{culprit_end}"),
            (0.5, "After that, everyone {in_P} called them the great detectives."),
        ],
        morals=["many monsters are only things we do not know yet", "it is good to ask before being afraid"]),
    "garden": dict(
        ask=["who plants a seed", "and a seed", "who has a garden", "who grows a flower"],
        steps=[
            "{t}, {H} found a [tiny|strange|small brown] seed. [\"What will you be?\" {he} asked.|{he} had never seen one like it.] {he} planted it {in_P} and gave it some water.",
            "The next day {he} looked, but nothing had happened. [The day after that, still nothing.|\"Hurry up, little seed,\" said {H}.] [{he} sang to it.|{he} told it stories.|{he} shouted at it, but it did not help.]",
            PAR,
            (0.6, "{some_1} laughed. \"[That is only a stone|Nothing will ever grow there],\" said {some_1_the}."),
            "\"When will it grow?\" {H} asked {f_new}. \"[Good things need time|A seed cannot be hurried|Wait, and keep it warm and wet],\" said {F}. [So they waited together.|So {H} waited.]",
            ["Rain came, and {H} was glad about it.",
             "When it was hot, {he} carried water from the [well|stream|pond].",
             "When it was cold, {he} covered the place with [straw|leaves|{his} own blanket]."],
            PAR,
            "Then [one morning|after many weeks], there was a [little green leaf|tiny green tip]. It grew and grew, [until it was taller than {H}|and soon it had a bud|until it reached the window]. [It became a flower as big as a plate|It became a tree full of golden apples|It became a pumpkin as big as a cart]!",
            "[Everyone came to see it.|\"It was not a stone after all,\" said {H}.|\"You see?\" said {F}.] {H} [gave a piece of it to everyone|kept the new seeds for the next spring|gave {F} the first new seed].",
        ],
        morals=["good things need time", "patience has sweet fruit"]),
    "moon": dict(
        ask=["and the moon", "who wants to fly to the moon", "who wants to catch a star", "and a fallen star"],
        steps=[
            "Every night {H} looked up at the sky. [\"I wish I could touch the moon,\" {he} said.|{he} counted the stars before {he} went to sleep.|{he} loved the stars more than anything.]",
            "{t}, after sunset, something bright fell from the sky and landed {in_P}. {H} ran to see what it was. It was a little star! [It was crying.|It was as small as a cherry.|Its light was very weak.] \"[I fell down, and I cannot get back|My family is up there|I am so far from home],\" said the star.",
            PAR,
            "\"I will bring you home,\" said {H}. [{he} climbed the tallest tree, but it was not tall enough.|{he} built a ladder of branches, but it was too short.|{he} threw the star as high as {he} could, but it fell back into {his} lap.]",
            "{he} asked {f_new} for help. \"[I know somebody who flies very high|Let us go to the top of the mountain|We need the wind],\" said {F}. [\"Come, we must hurry. A star cannot live long on the ground.\"|]",
            (0.6, "On the way there was {obstacle}. {pass}"),
            "[On the highest rock|At the top], {they} called the [north wind|great eagle|white cloud]. It came, took the star, and carried it up and up. [\"Goodbye!\" called the star.|The star blinked three times.|]",
            PAR,
            "[Now there is one star that blinks at {H} every night.|Since then {H} has had a friend in the sky.|That night the whole sky seemed to smile.] [\"Good night, little star,\" says {H}.|And {H} always waves back.|]",
        ],
        morals=["even a star needs a friend", "the light we give away comes back to us"]),
    "selfaccept": dict(
        ask=["who wants to be different", "who is not happy with {himself}", "who wants to be somebody else", "who is too {small}"],
        steps=[
            "{H} was not happy with {himself}. \"[I am too small|I am too slow|My voice is too quiet|I look too plain],\" {he} said. \"[I want to be like somebody else|Everyone else is better than me].\"",
            ["{he} tried to be loud like {some_1}, but {he} only got a sore throat.",
             "{he} put on [feathers|a big hat|a long coat], but it looked funny and itched.",
             "{he} tried to run like {some_2}, and fell into a puddle.",
             "{he} painted {himself} [blue|in many colors], but the rain washed it off."],
            PAR,
            "{his} friend {f_bare} watched {him}. \"[Why do you want to change?|I like you just as you are,|There is only one of you,]\" said {F}. [But {H} did not believe it.|{H} only sighed.]",
            "Then {t}, {there_was_trouble}. [Nobody knew what to do.|The big ones tried and failed.] \"[I think I can do it|Let me try],\" said {H}.",
            "And because {he} was just as {he} was, {he} {trouble_done}. [Everyone cheered.|\"Only you could do that!\" cried {F}.]",
            PAR,
            "{H} [smiled|looked into the water and smiled]. \"[I am glad that I am me|Perhaps I am just right|I do not want to be anyone else],\" {he} said. [\"That is what I always told you,\" said {F}.|]",
        ],
        morals=["everyone is good at something", "it is best to be yourself"]),
}

TROUBLES = [
    ("a baby bird fell into a narrow crack", "could reach into the crack and lift it out gently"),
    ("the key of the big gate fell down a small hole", "could reach it without making the hole bigger"),
    ("a wild horse was so frightened that nobody could come near", "could calm it with slow and quiet steps"),
    ("a crying child would not stop crying", "could make the child laugh"),
    ("the old clock on the tower stopped", "could slip between its wheels and pull out a leaf"),
    ("a sleeping bear blocked the only road", "could pass without a sound and bring help"),
]

OPENINGS = [
    "Once upon a time there [was|lived] {h_new}[ {in_P}|, {in_P}| who lived {in_P}|].",
    "Once upon a time, {in_P}, there lived {h_new}.",
    "Once there was {h_new} who lived {in_P}.",
    "Long ago, {in_P}, there was {h_new}.",
    "{in_P} lived {h_new}.",
    "There once was {h_new}.",
    "A long time ago there lived {h_new} {in_P}.",
    "Far away, {in_P}, lived {h_new}.",
    "This is the story of {h_new} who lived {in_P}.",
    "Do you know the story of {h_new}? {he} lived {in_P}.",
    "Not so long ago, {h_new} lived {in_P}.",
    "Once, {in_P}, there was {h_new}.",
]
TRAITS = [
    "{he} [loved|liked] to [sing in the morning|look at the clouds|eat {food2}|tell jokes|collect pretty stones|sleep late|play in the rain|watch the stars].",
    "Everyone {in_P} knew {him}.",
    "{he} was [always in a good mood|a little shy|very curious|often dreaming|full of ideas|always hungry].",
    "{he} lived in a [tiny|cozy|little round|crooked|small blue] house with [a red door|a green roof|one window|a big chimney].",
    "{he} had [a loud laugh|bright eyes|a big heart|a warm smile|many questions].",
    "Every morning {he} said hello to the sun.",
]
ASIDES = [
    "[The sun was shining.|A soft wind blew.|The air smelled of [rain|flowers|hay|snow].|Birds were singing.|Somewhere a bell rang.|White clouds drifted by.]",
    "[A butterfly flew by.|A cricket chirped in the grass.|A leaf fell slowly to the ground.]",
]
ENDINGS = [
    "And so {H} learned that {moral}.",
    "{H} had learned that {moral}.",
    "That day {H} understood that {moral}.",
    "And if you ask {H}, {he} will tell you that {moral}.",
    "\"Now I know that {moral},\" said {H}.",
    "That night {H} fell asleep with a smile.",
    "And they lived happily ever after.",
    "From that day on, {H} and {F} were the best of friends.",
    "And that is how it was. The end.",
    "The end.",
    "{H} went home, {happy} and a little tired.",
    "And whenever it rains, {H} and {F} still talk about that day.",
    "",
]
